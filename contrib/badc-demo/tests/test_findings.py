"""What the demonstration shows, from rows of a table."""

from __future__ import annotations

from badc_demo.dataset import long_files
from badc_demo.findings import Damage, damage_of, extra_detections, heard, laid_and_found
from badc_demo.screen import damage_line, found_table, heard_table, position, span

FILES = long_files(5)


def row(file: str, start_s: float | None, label: str = "Common Yellowthroat", confidence: float = 0.9, **more: str):
    """Return one row of the CSV file; `start_s` is in the recording."""
    start_ms = "" if start_s is None else str(round(start_s * 1000))
    end_ms = "" if start_s is None else str(round(start_s * 1000) + 3000)
    minute = 0 if start_s is None else int(start_s // 60)
    second = 0 if start_s is None else int(start_s % 60)
    return {
        "study_area": "BoggyCreek",
        "site": "BC07",
        "chunk_id": f"{file}_{minute}",
        "source_path": f"/data/{file}",
        "absolute_time_ms": start_ms,
        "absolute_end_ms": end_ms,
        "label": label if start_s is not None else "none",
        "confidence": str(confidence) if start_s is not None else "",
        "detected_at": f"2025-06-11T04:{30 + minute:02d}:{second:02d}.000000",
        "status": "ok" if start_s is not None else "no_detections",
        "missing_ms": "0",
        **more,
    }


def test_heard_counts_by_site_and_species():
    """Placeholder rows are no detections."""
    rows = [
        row("a.wav", 63, confidence=0.7),
        row("a.wav", 3, confidence=0.8),
        row("a.wav", 3, label="Wren", confidence=0.6),
        row("a.wav", None),
        row("b.wav", 3, label="Robin", study_area="Attic", site="S"),
    ]
    found = heard(rows)
    assert [(h.study_area, h.label, h.detections, h.best) for h in found] == [
        ("Attic", "Robin", 1, 0.9),
        ("BoggyCreek", "Common Yellowthroat", 2, 0.8),
        ("BoggyCreek", "Wren", 1, 0.6),
    ]
    assert (found[1].first, found[1].last) == ("2025-06-11T04:30:03.000000", "2025-06-11T04:31:03.000000")


def test_laid_is_held_against_heard():
    """A detection counts when it meets the song, in the same file; the best confidence is shown."""
    name, other = FILES[0].path.name, FILES[1].path.name
    rows = [
        row(name, 18.5, confidence=0.3),  # ends at 21.5, the song begins at 21.4
        row(name, 24, confidence=0.95),
        row(name, 95.1 - 3, confidence=0.9),  # ends where the song begins
        row(other, 168.8, confidence=0.9),  # another file
        row(name, 242.5, label="Wren"),
    ]
    found = laid_and_found(FILES, rows)
    assert [(f.heard_at_ms, f.confidence) for f in found[:4]] == [
        (18_500, 0.95),
        (None, None),
        (None, None),
        (None, None),
    ]
    assert [f.lost for f in found if f.file.damaged] == [False, False, True, True]
    assert not any(f.lost for f in found if not f.file.damaged)
    assert extra_detections(FILES, rows) == 3
    assert extra_detections(FILES, [row("elsewhere.wav", 3)]) == 0


def test_damage_is_counted_by_chunk():
    """Two rows of one chunk are one chunk."""
    file = FILES[2]
    name = file.path.name
    rows = [
        row(name, 3),
        row(name, 6),
        row(name, None, chunk_id="silent"),
        row(name, 130, missing_ms="30000"),
        row(name, None, chunk_id="gone", status="failed"),
        row("other.wav", None, chunk_id="other", status="failed"),
    ]
    cost = damage_of(file, rows)
    assert cost == Damage(whole=2, partly=1, missing=1, missing_ms=30_000)
    assert damage_line(file, cost) == (
        "BC07_20250611_053000.wav ends half-way, as after a flat battery: 3 of its 4 chunks were analysed "
        "(1 of them in part, 30.0 s short), 1 is missing. Nothing else was lost."
    )


def test_times_as_people_write_them():
    """Positions in minutes and seconds, moments without microseconds."""
    assert [position(ms) for ms in (0, 11_500, 71_999, 3_600_000)] == ["0:00.0", "0:11.5", "1:11.9", "60:00.0"]
    assert span("2025-06-11T04:30:21.000000", "2025-06-11T05:32:15.000000") == ("2025-06-11 04:30", "05:32")
    assert span("2025-06-11T23:59:59+00:00", "2025-06-12T00:00:02+00:00") == ("2025-06-11 23:59", "2025-06-12 00:00")


def test_tables_show_every_row():
    """Once rendered as text."""
    from rich.console import Console

    rows = [row(FILES[0].path.name, 21, confidence=0.987), row("a.wav", 3, label="Wren", site="X")]
    console = Console(width=80)
    with console.capture() as captured:
        console.print(heard_table(heard(rows)))
        console.print(found_table(laid_and_found(FILES, rows)))
    text = captured.get()
    for words in ("Wren", "2025-06-11 04:30", "0.99", "0:21.4", "0:21.0", "-20 dB", "lost", "not heard"):
        assert words in text
    assert text.count("lost") == 2
