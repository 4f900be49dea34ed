"""What a user says to HawkEars comes to what HawkEars' own command makes of the same words."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent

WORDS = [
    [],
    ["--min_score", "0.3"],
    ["-m", "0.85"],
    ["-m0.5"],
    ["--models", "1"],
    ["--models", "3"],
    ["--models=2", "--min_score=0.55"],
    ["--low-band"],
    ["--no-low-band"],
    ["--low-band", "--no-low-band"],
    ["--label", "codes"],
    ["--label", "names"],
    ["--label", "alt_names"],
    ["--label", "alt-name"],
    ["--label", "alt_code"],
    ["--label", "name"],
    ["--seg", "3"],
    ["--seg", "1.5", "--min_score", "0.25"],
    ["--min-label-length", "0.75"],
    ["--max-label-length", "5"],
    ["--min-label-length", "1", "--max-label-length", "2.5"],
    ["--region", "CA-NT"],
    ["--region", "CA-ON-OT", "--date", "0601"],
    ["--lat", "45.4", "--lon", "-75.7"],
    ["--lat=45.4", "--lon=-75.7", "--date", "2026-06-01"],
    ["--lat", "45.4", "--lon", "-75.7", "--date", "20260601"],
    ["--region", "CA", "--date", "file"],
    ["--include", "LIST"],
    ["--exclude", "LIST"],
    ["--include", "LIST", "--exclude", "LIST"],
    ["-c", "YAML"],
    ["--cfg", "YAML", "--min_score", "0.9"],
    ["--cfg", "YAML", "--models", "3", "--no-low-band", "--label", "codes"],
    ["--cfg", "PLACE", "--lon", "-75.7"],
    ["--min_score", "0.3", "--min_score", "0.4"],
    ["-m", "0.4", "--models", "2", "--no-low-band", "--label", "alt-codes", "--region", "US-AK", "--seg", "9"],
]


@pytest.fixture(scope="module")
def compared(hawkears_python: Path, hawkears_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What differs, for each of the words."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "list.txt").write_text("# those that matter\n\nCommon Yellowthroat\nOVEN\nSetophaga virens\n")
    (folder / "set.yaml").write_text(
        "infer:\n  min_score: 0.6\n  max_models: 2\n  label_field: alt_names\n"
        "hawkears:\n  low_band_classifier: true\n  include_list: data/exclude.txt\n  min_occurrence: 1e-3\n"
        "  date: 2026-06-01\naudio:\n  check_seconds: 3\n"
    )
    (folder / "place.yaml").write_text("hawkears:\n  latitude: 45.4\n")
    named = {"LIST": "list.txt", "YAML": "set.yaml", "PLACE": "place.yaml"}
    asked = [[str(folder / named[word]) if word in named else word for word in words] for words in WORDS]
    done = subprocess.run(
        [hawkears_python, HERE / "words.py", hawkears_root, folder],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answer: dict[str, Any] = json.loads(done.stdout.rpartition("\n\0")[2])
    return answer


@pytest.mark.parametrize("number", range(len(WORDS)), ids=[" ".join(words) or "nothing" for words in WORDS])
def test_the_same_words_come_to_the_same_settings(compared: dict[str, Any], number: int) -> None:
    """But for the channel, which HawkEars chooses on some devices and the runner never does."""
    assert compared["direct"][number] == {"audio.choose_channel": [True, False]}


@pytest.mark.parametrize("number", range(len(WORDS)), ids=[" ".join(words) or "nothing" for words in WORDS])
def test_as_yaml_they_are_the_same_on_every_device(compared: dict[str, Any], number: int) -> None:
    """Where HawkEars itself would take fewer members, and no low band."""
    assert compared["told"][number] == [{}, {}, {}]


def test_every_argument_of_this_hawkears_is_known(compared: dict[str, Any]) -> None:
    """The table in the plugin has all of them, and no other."""
    assert compared["table"] == {"unknown to us": [], "unknown to them": []}
