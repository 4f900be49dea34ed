"""Stands in for an interpreter and pip: notes how it was called, and answers as they would; fails or hangs when told.

``setup`` runs it for minutes of downloads in no time. What its answers are worth is tried by the slow test that
makes a real environment.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

words = sys.argv[1:]
text = " ".join(words)
home = Path(os.environ["PRETENDER"])
state = json.loads((home / "state.json").read_text())

if words[0] == "-c":
    if words[1]:
        print(json.dumps([*state["version"], "lib/python/site-packages"]))
    sys.exit()
with (home / "calls.jsonl").open("a") as log:
    log.write(json.dumps([Path(sys.argv[0]).parent.parent.name, *words]) + "\n")
if state["fails"] and state["fails"] in text:
    sys.exit(f"pretending that there is no {state['fails']}")
if state["hangs"] and state["hangs"] in text:
    (home / "hanging").write_text(str(os.getpid()))
    time.sleep(300)
if words[:2] == ["-m", "venv"]:
    folder = Path(words[-1])
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "lib/python/site-packages").mkdir(parents=True)
    (folder / "bin").mkdir()
    shutil.copy(sys.argv[0], folder / "bin" / "python")
elif "mend" in words:
    print("talk\n" + json.dumps({"mended": [], "torch": "2.13.0", "cuda": state["cuda"], "gpus": 0}))
elif "data" in words:
    (Path(words[3]) / "yaml").mkdir(parents=True, exist_ok=True)
    (Path(words[3]) / "yaml/default.yaml").touch()
elif "weights" in words:
    print(json.dumps({"fetched": [], "problem": state["problem"]}))
elif "example" in words:
    print(json.dumps({"root": "root"}))
