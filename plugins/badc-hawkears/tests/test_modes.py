"""Where the modes live, and what HawkEars' words mean today."""

from __future__ import annotations

from badc_hawkears.modes import isolation
from badc_hawkears.modes.names import class_names
from badc_hawkears.options import HawkEarsOptions


def test_names_of_today(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/classes.csv").write_text("Name,Code,AltName,AltCode\nBarred Owl,BADO,Strix varia,brdowl\n")
    assert class_names(tmp_path)["BADO"] == ("BADO", "Barred Owl")
    (tmp_path / "data/taxonomy.csv").write_text("model_code,name,code,alt_name,alt_code\nBADO,,BAOW,,\n")
    names = class_names(tmp_path)
    assert names == dict.fromkeys(["BAOW", "Barred Owl", "Strix varia", "brdowl"], ("BAOW", "Barred Owl"))
    assert class_names(tmp_path / "nowhere") == {}


def test_only_the_command_lives_beside_other_workers(tmp_path):
    root = tmp_path.absolute()
    assert isolation(HawkEarsOptions(mode="cli", root=root, python=root)) == "thread"
    assert isolation(HawkEarsOptions(mode="api", root=root, python=root)) == "process"
    assert isolation(HawkEarsOptions(root=root, python=root)) == "process"
    assert isolation(HawkEarsOptions(script=root / "analyze.py")) == "thread"
