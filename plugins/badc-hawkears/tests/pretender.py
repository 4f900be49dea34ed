"""Stands in for an interpreter and pip: notes how it was called, and answers as they would; fails or hangs when told.

So ``setup`` runs through minutes of downloads in no time. What its answers are worth is tried by the slow test that
makes a real environment. It is started often, so it imports little.
"""

# ruff: noqa: PTH102, PTH103, PTH123 (pathlib takes longer to import than all the rest)

from __future__ import annotations

import json
import os
import sys

home = os.environ["PRETENDER"]
program, *words = sys.argv
text = " ".join(words)
with open(f"{home}/state.json") as file:
    state = json.load(file)

if words[0] == "-c":
    if words[1]:
        print(json.dumps([program, *state["version"], "lib/python/site-packages"]))
    sys.exit()
with open(f"{home}/calls.jsonl", "a") as log:
    log.write(json.dumps(words) + "\n")
if state["fails"] and state["fails"] in text:
    sys.exit(f"pretending that there is no {state['fails']}{state['because']}")
if state["hangs"] and state["hangs"] in text:
    import time

    with open(f"{home}/hanging", "w") as file:
        file.write(str(os.getpid()))
    time.sleep(300)
if words[:2] == ["-m", "venv"]:
    import shutil

    shutil.rmtree(words[-1], ignore_errors=True)
    os.makedirs(f"{words[-1]}/lib/python/site-packages")
    os.mkdir(f"{words[-1]}/bin")
    shutil.copy(program, f"{words[-1]}/bin/python")
elif "mend" in words:
    print("talk\n" + json.dumps({"mended": [], "torch": "2.13.0", "cuda": state["cuda"], "gpus": 0}))
elif "data" in words:
    os.makedirs(f"{words[3]}/yaml", exist_ok=True)
    open(f"{words[3]}/yaml/default.yaml", "w").close()
elif "weights" in words:
    print(json.dumps({"fetched": [], "problem": state["problem"]}))
elif "example" in words:
    print(json.dumps({"root": "root"}))
