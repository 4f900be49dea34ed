"""Handing a table to exporters: all of them end well, or none does, and messages name who failed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from badc_core import ExporterSpec, hookimpl, option
from badc_core.config import Settings
from badc_core.errors import PluginError, StoreError, UsageError
from badc_core.exporting import COLUMNS, Export, RowBatch, export, open_exporters, parse_export
from badc_core.host import Host


class Recorder:
    """Notes what it is told, and fails where it is asked to."""

    def __init__(self, fails_at: str = "", error: Exception | None = None) -> None:
        self.calls: list[Any] = []
        self.fails_at = fails_at
        self.error = error or ValueError("no ink")

    def _note(self, name: str, value: Any) -> None:
        self.calls.append((name, value))
        if name == self.fails_at:
            raise self.error

    def write(self, batch: Any) -> None:
        self._note("write", list(batch.rows()))

    def checkpoint(self) -> None:
        self._note("checkpoint", None)

    def close(self, summary: Mapping[str, Any] | None) -> None:
        self._note("abort" if summary is None else "close", summary)

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


BATCHES = [RowBatch([{"label": "a"}]), RowBatch([{"label": "b"}, {"label": "c"}])]


def test_every_exporter_gets_every_batch_in_order_and_then_the_summary():
    one, two = Recorder(), Recorder()
    facts = export(BATCHES, {"one": one, "two": two}, lambda: {"rows": 3})
    assert facts == {"rows": 3}
    for recorder in (one, two):
        assert [value for name, value in recorder.calls if name == "write"] == [list(b.rows()) for b in BATCHES]
        assert recorder.calls[-2:] == [("checkpoint", None), ("close", {"rows": 3})]


def test_a_plain_mapping_will_do_as_summary():
    one = Recorder()
    assert export([], {"one": one}, {"rows": 0}) == {"rows": 0}
    assert one.calls[-1] == ("close", {"rows": 0})


@pytest.mark.parametrize("stage", ["write", "checkpoint"])
def test_when_one_fails_nobody_publishes(stage: str):
    good, bad = Recorder(), Recorder(stage)
    with pytest.raises(PluginError, match="The exporter bad failed: ValueError: no ink"):
        export(BATCHES, {"good": good, "bad": bad}, {})
    assert good.names()[-1] == "abort"
    assert bad.names()[-1] == "abort"
    assert "close" not in good.names() + bad.names()


def test_an_error_of_ours_keeps_its_class_and_hint_and_gets_the_name():
    bad = Recorder("write", StoreError("Cannot write x: full.", hint="Free some space."))
    with pytest.raises(StoreError) as caught:
        export(BATCHES, {"csv to x": bad}, {})
    assert caught.value.message == "Export csv to x: Cannot write x: full."
    assert caught.value.hint == "Free some space."


def test_an_error_in_the_rows_themselves_aborts_and_comes_out_unchanged():
    def broken():
        yield BATCHES[0]
        raise KeyError("rows")

    one = Recorder()
    with pytest.raises(KeyError):
        export(broken(), {"one": one}, {})
    assert one.names() == ["write", "abort"]


def test_an_interruption_aborts():
    one = Recorder("write", KeyboardInterrupt())  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        export(BATCHES, {"one": one}, {})
    assert one.names()[-1] == "abort"


def test_a_failing_abort_does_not_hide_the_error():
    class Stubborn(Recorder):
        def close(self, summary: Mapping[str, Any] | None) -> None:
            raise RuntimeError("and I will not close")

    other = Recorder()
    with pytest.raises(PluginError, match="no ink"):
        export(BATCHES, {"stubborn": Stubborn("write"), "other": other}, {})
    assert other.names()[-1] == "abort"


def test_row_batches_speak_arrow():
    pa = pytest.importorskip("pyarrow")
    table = pa.table(RowBatch([{"label": "a", "confidence": 1, "note": "x"}, {"timestamp_ms": 5}]))
    assert table.column_names == [column.name for column in COLUMNS] + ["note"]
    assert str(table.schema.field("confidence").type) == "double"
    assert str(table.schema.field("site").type) == "string"
    assert table.to_pylist()[1]["timestamp_ms"] == 5
    assert pa.table(RowBatch([])).num_rows == 0


def test_the_reference_lists_all_columns_in_order():
    page = Path(__file__).parent.parent / "docs" / "reference" / "formats" / "tables.md"
    listed = re.findall(r"^\| `(\w+)` \| (text|integer|number) \|", page.read_text("utf-8"), re.MULTILINE)
    assert listed == [(column.name, column.kind) for column in COLUMNS]


# -------------------------------------------------------------------------------------- what was asked for


@attrs.frozen
class Ink:
    colour: str = option("black", help="Colour of the ink")


def open_recorder(target: Path, options: Ink | None) -> Recorder:
    recorder = Recorder()
    recorder.calls.append((target, options))
    OPENED.append(recorder)
    if target.name == "broken":
        raise OSError(28, "No space left on device")
    return recorder


OPENED: list[Recorder] = []


class Plugin:
    @hookimpl
    def badc_exporters(self):
        yield ExporterSpec("diary", "One line per night", open=f"{__name__}:open_recorder", suffix=".diary")
        yield ExporterSpec(
            "inked", "With ink", open=f"{__name__}:open_recorder", suffix=".ink", options=f"{__name__}:Ink"
        )


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())
    OPENED.clear()
    return Host([Plugin()], installed=False)


def _this_module():
    import types

    module = types.ModuleType(__name__)
    vars(module).update(globals())
    return module


def test_export_takes_a_target_or_makes_one_from_the_first_output(host: Host):
    assert parse_export("diary", host, Path("a/b.csv")).target == Path("a/b.diary")
    assert parse_export("diary=x=y.txt", host, Path("a/b.csv")).target == Path("x=y.txt")
    with pytest.raises(UsageError, match="names no file"):
        parse_export("diary=", host, Path("a/b.csv"))
    with pytest.raises(PluginError, match="Did you mean 'diary'"):
        parse_export("dairy", host, Path("a/b.csv"))


def test_options_come_from_the_settings(host: Host, tmp_path: Path):
    wanted = [parse_export(f"inked={tmp_path / 'x'}", host, tmp_path)]
    open_exporters(wanted, Settings({"exporter": {"inked": {"colour": "red"}}}))
    assert OPENED[-1].calls == [(tmp_path / "x", Ink("red"))]
    with pytest.raises(UsageError, match="no option 'color'"):
        open_exporters(wanted, Settings({"exporter": {"inked": {"color": "red"}}}))


def test_two_exporters_may_not_write_one_file(host: Host, tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    spec = parse_export("diary", host, tmp_path / "x").spec
    with pytest.raises(UsageError, match="would both write"):
        open_exporters([Export(spec, tmp_path / "x"), Export(spec, tmp_path / "link" / "x")])
    assert OPENED == []


def test_a_folder_is_no_target(host: Host, tmp_path: Path):
    with pytest.raises(UsageError, match="it is a folder"):
        open_exporters([parse_export(f"diary={tmp_path}", host, tmp_path)])


def test_when_one_cannot_be_opened_the_others_are_aborted(host: Host, tmp_path: Path):
    wanted = [parse_export(f"{name}={tmp_path / name}", host, tmp_path) for name in ("inked", "diary")]
    wanted.append(Export(wanted[0].spec, tmp_path / "broken"))
    with pytest.raises(PluginError, match=r"inked to .*broken failed: OSError"):
        open_exporters(wanted)
    assert [recorder.names()[-1] for recorder in OPENED[:2]] == ["abort", "abort"]
