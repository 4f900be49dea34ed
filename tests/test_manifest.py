"""Manifests: what is written is read back, what is old is read, what is wrong is refused by line."""

from __future__ import annotations

import csv
import datetime as dt
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from badc_core import manifest
from badc_core.errors import ManifestError, StoreError
from badc_core.model import Chunk, Instant, LocalTime, Recording

OLD_HEADER = "recording_id,chunk_id,source_path,start_ms,end_ms,overlap_ms,sha256,notes"
SHA = "ab" * 32


def read_text(tmp_path: Path, text: str, encoding: str = "utf-8") -> list[Chunk]:
    path = tmp_path / "m.csv"
    path.write_text(text, encoding=encoding, newline="")
    return list(manifest.read(path))


def chunk(**changes: object) -> Chunk:
    values = {"chunk_id": "R_chunk_0_60000", "recording_id": "R", "source_path": Path("/d/R_chunk_0_60000.wav")}
    return Chunk(**{**values, **changes})  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- round trips

# What file names can hold: any bytes but NUL and "/", decoded as Python decodes names.
names = (
    st.binary(min_size=1, max_size=30)
    .map(lambda name: os.fsdecode(name.translate(None, b"\0/\\")))
    .filter(lambda text: text not in ("", ".", ".."))
)
spoken = st.text(alphabet=st.sampled_from('a,"\n\r \té\u0065\u0301ÅÅ鳥;’\u2028\x85'), min_size=1, max_size=12)
ids = names | spoken
numbers = st.none() | st.integers(-(2**63), 2**63)
lengths = st.integers(0, 10**9)
notes = st.none() | spoken | st.sampled_from(["DRY_RUN", "DRY_RUN; really", "DRY_RUNNING", "TODO_HASH"])
windows = st.one_of(
    st.builds(lambda start, end: {"start_ms": start, "end_ms": end}, numbers, numbers),
    st.builds(
        lambda start, length, offset: {"start_ms": start, "end_ms": start + length + 1, "offset_ms": offset},
        lengths,
        lengths,
        lengths,
    ),
)
chunks = st.builds(
    lambda window, **fields: Chunk(**fields, **window),
    windows,
    chunk_id=ids,
    recording_id=ids,
    source_path=ids.map(lambda name: Path("/data") / name),
    overlap_ms=numbers,
    sha256=st.none() | st.just(SHA),
    notes=notes,
)


@given(st.lists(chunks, max_size=5))
@example([chunk(recording_id="\r", chunk_id="\r\n", notes='"')])
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, given_chunks: list[Chunk]) -> None:
    path = tmp_path_factory.mktemp("m") / "m.csv"
    assert manifest.write(path, given_chunks) == len(given_chunks)
    assert list(manifest.read(path)) == given_chunks


@given(st.lists(chunks, max_size=3))
def test_other_csv_readers_read_the_same_fields(
    tmp_path_factory: pytest.TempPathFactory, given_chunks: list[Chunk]
) -> None:
    path = tmp_path_factory.mktemp("m") / "m.csv"
    manifest.write(path, given_chunks)
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["recording_id"], row["chunk_id"], row["source_path"]) for row in rows] == [
        (c.recording_id, c.chunk_id, str(c.source_path)) for c in given_chunks
    ]


def test_plain_rows_have_the_bytes_of_0_1_and_the_new_column_last(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    manifest.write(path, [chunk(start_ms=0, end_ms=60000, overlap_ms=2000, sha256=SHA), chunk(offset_ms=5)])
    lines = path.read_bytes().decode().split("\n")
    assert lines[0] == OLD_HEADER + ",offset_ms"
    assert lines[1] == f"R,R_chunk_0_60000,/d/R_chunk_0_60000.wav,0,60000,2000,{SHA},,"
    assert lines[2] == "R,R_chunk_0_60000,/d/R_chunk_0_60000.wav,,,,TODO_HASH,,5"
    assert lines[3:] == [""]


def test_names_that_are_no_utf8_keep_their_bytes(tmp_path: Path) -> None:
    source = Path(os.fsdecode(b"/d/caf\xe9,\xff.wav"))
    path = tmp_path / "m.csv"
    manifest.write(path, [chunk(source_path=source)])
    assert b'"/d/caf\xe9,\xff.wav"' in path.read_bytes()
    (found,) = manifest.read(path)
    assert os.fsencode(found.source_path) == b"/d/caf\xe9,\xff.wav"


@pytest.mark.parametrize(
    ("field", "digest", "kept_notes"),
    [("", None, None), ("TODO_HASH", None, None), ("DRY_RUN", None, "DRY_RUN"), (SHA.upper(), SHA, None)],
)
def test_markers_in_place_of_a_digest(tmp_path: Path, field: str, digest: str | None, kept_notes: str | None) -> None:
    (found,) = read_text(tmp_path, f"{OLD_HEADER}\nR,c,/d/c.wav,0,1,0,{field},\n")
    assert (found.sha256, found.notes) == (digest, kept_notes)
    manifest.write(tmp_path / "again.csv", [found])
    written = (tmp_path / "again.csv").read_text().splitlines()[1].split(",")[6]
    assert written == {"": "TODO_HASH"}.get(field, field if kept_notes or not digest else digest)


# ------------------------------------------------------------------------------------------- old and foreign


def test_old_manifests_and_foreign_columns(tmp_path: Path) -> None:
    text = "\ufeffnotes, chunk_id ,lab,source_path,recording_id,start_ms\r\nhi,c1,x,a.wav,R,1000.7\r\n\r\n,,,,,\r\n"
    (found,) = read_text(tmp_path, text)
    assert found == Chunk("c1", "R", Path("a.wav"), start_ms=1000, notes="hi")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", None),
        ("1000", 1000),
        ("1000.0", 1000),
        (" 7 ", 7),
        ("1e3", 1000),
        ("nan", None),
        ("inf", None),
        ("x", None),
        ("9" * 5000, None),
    ],
)
def test_numbers(tmp_path: Path, text: str, number: int | None) -> None:
    (found,) = read_text(tmp_path, f"{OLD_HEADER}\nR,c,/d/c.wav,{text},{text},{text},,\n")
    assert (found.start_ms, found.end_ms, found.overlap_ms) == (number, number, number)


@pytest.mark.parametrize(
    ("recording_id", "chunk_id", "source"),
    [
        ("R", "R_chunk_0_60000", "/data/Smith, J/R_chunk_0_60000.wav"),
        ("a,b", "a,b_chunk_0_60000", "/x/a,b/a,b_chunk_0_60000.wav"),
        ("a,b", "a,b_0_60000", "/x, y/a,b.flac"),
        ("a,a", "a,a_0_60000", "a,a.flac"),
        ("R", "odd", "/x,y/odd.wav"),
    ],
)
def test_rows_of_0_1_with_unquoted_commas_are_put_together(
    tmp_path: Path, recording_id: str, chunk_id: str, source: str
) -> None:
    (found,) = read_text(tmp_path, f"{OLD_HEADER}\n{recording_id},{chunk_id},{source},0,60000,0,{SHA},\n")
    assert found == Chunk(chunk_id, recording_id, Path(source), 0, 60000, 0, sha256=SHA)


@pytest.mark.parametrize(
    "text",
    [
        f"{OLD_HEADER}\nR,c,/a.wav,0,1,0,,\nR,c,/a,b/other.wav,0,1,0,,\n",  # nothing says how to split
        f"{OLD_HEADER},offset_ms\nR,c,/a.wav,0,1,0,,,\nR,c,/a,b/c.wav,0,1,0,,,\n",  # not a file of 0.1
        f"{OLD_HEADER}\nR,c,/a.wav,0,1,0,,\nR,c,/b.wav,0,6\n",  # torn
        f'{OLD_HEADER}\nR,c,/a.wav,0,1,0,,\n"R,c,/b.wav,0,1,0,,\n',  # a quotation mark without its partner
        f"{OLD_HEADER}\nR,c,/a.wav,0,1,0,,\nR,../c,/b.wav,0,1,0,,\n",
        f"{OLD_HEADER}\nR,c,/a.wav,0,1,0,,\n..,c,/b.wav,0,1,0,,\n",
        f"{OLD_HEADER}\nR,c,/a.wav,0,1,0,,\nR,,/b.wav,0,1,0,,\n",
        f"{OLD_HEADER}\nR,c,/a.wav,0,1,0,,\nR,c\0,/b.wav,0,1,0,,\n",
        f"{OLD_HEADER}\nR,c,/a.wav,0,1,0,,\nR,c2,,0,1,0,,\n",
        f"{OLD_HEADER},offset_ms\nR,c,/a.wav,0,1,0,,,\nR,c2,/a.wav,0,1,0,,,x\n",
        f"{OLD_HEADER},offset_ms\nR,c,/a.wav,0,1,0,,,\nR,c2,/a.wav,0,1,0,,,-1\n",
        f"{OLD_HEADER},offset_ms\nR,c,/a.wav,0,1,0,,,\nR,c2,/a.wav,,,0,,,5\n",
        f"{OLD_HEADER},offset_ms\nR,c,/a.wav,0,1,0,,,\nR,c2,/a.wav,7,7,0,,,5\n",
    ],
)
def test_bad_rows_are_refused_by_file_and_line_and_good_ones_before_are_given(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text)
    rows = manifest.read(path)
    assert next(rows).chunk_id == "c"
    with pytest.raises(ManifestError) as caught:
        list(rows)
    assert str(path) in caught.value.message
    assert "line 3" in caught.value.message


def test_the_line_named_is_the_one_on_which_the_row_begins(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="line 4"):
        read_text(tmp_path, f'{OLD_HEADER}\n"a\nb",c,/a.wav,0,1,0,,\nR,"a/\r\nb",/b.wav,0,1,0,,"x\ny"\n')


def test_a_missing_column_is_named_with_what_it_might_be(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="'source_path'") as caught:
        read_text(tmp_path, "recording_id,chunk_id,sourcepath\nR,c,a.wav\n")
    assert "'sourcepath'" in str(caught.value.hint)
    with pytest.raises(ManifestError, match="twice"):
        read_text(tmp_path, "recording_id,chunk_id,source_path,chunk_id\nR,c,a.wav,d\n")


def test_no_file_no_text_no_rows(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no manifest .*nothing\.csv"):
        list(manifest.read(tmp_path / "nothing.csv"))
    with pytest.raises(ManifestError, match="empty"):
        read_text(tmp_path, "")
    with pytest.raises(ManifestError, match="directory"):
        list(manifest.read(tmp_path))
    assert read_text(tmp_path, OLD_HEADER) == []


# ------------------------------------------------------------------------------------------- writing


def test_nothing_appears_and_nothing_is_lost_when_a_chunk_cannot_be_made(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    manifest.write(path, [chunk()])
    before = path.read_bytes()

    def failing():
        yield chunk(chunk_id="new")
        raise ManifestError("no more")

    with pytest.raises(ManifestError, match="no more"):
        manifest.write(path, failing())
    with pytest.raises(ManifestError, match="cannot name a file"):
        manifest.write(path, [chunk(recording_id="a/b")])
    with pytest.raises(ManifestError, match="not text"):
        manifest.write(path, [chunk(notes="\ud800")])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"m\.csv"):
        manifest.write(tmp_path / "file" / "m.csv", [chunk()])


@pytest.mark.parametrize(
    ("source", "count", "ceiling"),
    [
        ("/d/R.flac", 10_000, 500_000),
        ("/d/R_chunk_{}.wav", 40_000, 8_000_000),  # mostly the interpreter's table of path names, which grows in steps
    ],
)
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, source: str, count: int, ceiling: int) -> None:
    def rows():
        for n in range(count):
            yield Chunk(f"R_chunk_{n}", "R", Path(source.format(n)), n, n + 1, 0)

    path = tmp_path / "m.csv"
    tracemalloc.start()
    manifest.write(path, rows())
    assert sum(1 for _ in manifest.read(path)) == count
    streamed = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    kept = list(manifest.read(path))
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(kept) == count
    assert streamed < ceiling
    assert held > 1.5 * ceiling  # so the ceiling tells streaming from keeping


# ------------------------------------------------------------------------------------------- sources


def test_where_a_source_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, dataset = tmp_path / "here", tmp_path / "set"
    (dataset / ".datalad").mkdir(parents=True)
    manifests = dataset / "manifests"
    for folder in (here / "audio", dataset / "audio", manifests / "near"):
        folder.mkdir(parents=True)
    (here / "audio/here.wav").write_bytes(b"x")
    for file in (here / "audio/a.wav", dataset / "audio/b.wav", manifests / "near/c.wav", dataset / "audio/a.wav"):
        file.write_bytes(b"x")
    (dataset / "audio/link.wav").symlink_to("../nowhere")
    monkeypatch.chdir(here)
    book = manifests / "m.csv"
    assert manifest.resolve_source(Path("/nowhere/a.wav"), book) == Path("/nowhere/a.wav")
    assert manifest.resolve_source(Path("audio/a.wav"), book) == dataset / "audio/a.wav", "not of where one stands"
    assert manifest.resolve_source(Path("audio/here.wav"), book) == here / "audio/here.wav"
    assert manifest.resolve_source(Path("audio/b.wav"), book) == dataset / "audio/b.wav"
    assert manifest.resolve_source(Path("audio/link.wav"), book) == dataset / "audio/link.wav"
    assert manifest.resolve_source(Path("near/c.wav"), book) == manifests / "near/c.wav"
    assert manifest.resolve_source(Path("audio/none.wav"), book) == dataset / "audio/none.wav"
    assert manifest.resolve_source(Path("later/d.wav"), book) == dataset / "later/d.wav"
    (dataset / "later").mkdir()
    (dataset / "later/d.wav").write_bytes(b"x")
    assert manifest.resolve_source(Path("later/d.wav"), book) == dataset / "later/d.wav"


def test_sources_in_the_manifest_s_dataset_are_named_from_its_root(tmp_path: Path) -> None:
    """So its copies and clones name their own; anything else is named as it is."""
    dataset = tmp_path / "set"
    for folder in (dataset / ".datalad", dataset / "sub/.datalad", dataset / "audio"):
        folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(dataset)
    given = {
        dataset / "audio/a.wav": "audio/a.wav",
        dataset / "b.wav": "b.wav",
        dataset / "not yet/c.wav": "not yet/c.wav",
        dataset / "sub/d.wav": "sub/d.wav",
        tmp_path / "link/audio/e.wav": "audio/e.wav",
        dataset / "sub/../audio/f.wav": "audio/f.wav",
        Path("audio/g.wav"): "audio/g.wav",
        tmp_path / "h.wav": str(tmp_path / "h.wav"),
    }
    chunks = [Chunk(f"c{n}", "r", path, 0, 1000) for n, path in enumerate(given)]
    for book in (dataset / "deep/m.csv", tmp_path / "link/m.csv"):
        manifest.write(book, chunks)
        assert [str(chunk.source_path) for chunk in manifest.read(book)] == list(given.values())
        manifest.write_recordings(book, [Recording("r", dataset / "audio/a.wav")])
        assert "r,audio/a.wav," in manifest.recordings_path(book).read_text()
        assert manifest.read_recordings(book)["r"].path.parent.samefile(dataset / "audio")
    elsewhere = tmp_path / "m.csv"
    manifest.write(elsewhere, chunks)
    assert [chunk.source_path for chunk in manifest.read(elsewhere)] == list(given)


def test_read_resolved(tmp_path: Path) -> None:
    (tmp_path / ".datalad").mkdir()
    (tmp_path / "a").mkdir()
    chunks = [Chunk(f"c{n}", "r", tmp_path / "a/x.wav", n, n + 1) for n in range(3)]
    manifest.write(tmp_path / "m.csv", chunks)
    assert [chunk.source_path for chunk in manifest.read(tmp_path / "m.csv")] == [Path("a/x.wav")] * 3
    assert [chunk.source_path for chunk in manifest.read_resolved(tmp_path / "m.csv")] == [tmp_path / "a/x.wav"] * 3


def test_sources_of_one_folder_cost_no_question_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chunks").mkdir()
    monkeypatch.chdir(tmp_path)
    manifest.resolve_source(Path("chunks/0.wav"), tmp_path / "m.csv")
    asked = []
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda *a, **k: asked.append(a) or real(*a, **k))
    for n in range(100):
        assert manifest.resolve_source(Path(f"chunks/{n}.wav"), tmp_path / "m.csv") == tmp_path / f"chunks/{n}.wav"
    assert asked == []


# ------------------------------------------------------------------------------------------- recordings

moments = st.one_of(
    st.none(),
    st.datetimes(min_value=dt.datetime(1970, 1, 1)).map(LocalTime),
    st.datetimes(min_value=dt.datetime(1970, 1, 2), timezones=st.just(dt.UTC)).map(Instant),
)
recordings = st.builds(
    Recording,
    recording_id=ids,
    path=ids.map(lambda name: Path("/data") / name),
    sample_rate_hz=st.none() | lengths,
    channels=st.none() | lengths,
    duration_ms=st.none() | lengths,
    started_at=moments,
    study_area=st.none() | spoken,
    site=st.none() | spoken,
    device=st.none() | spoken,
    latitude=st.none() | st.floats(-90, 90),
    longitude=st.none() | st.floats(-180, 180),
)


@given(st.lists(recordings, max_size=4, unique_by=lambda r: r.recording_id))
def test_recordings_are_read_back(tmp_path_factory: pytest.TempPathFactory, told: list[Recording]) -> None:
    book = tmp_path_factory.mktemp("m") / "m.csv"
    assert manifest.write_recordings(book, told) == manifest.recordings_path(book)
    assert manifest.read_recordings(book) == {r.recording_id: r for r in told}


def test_recordings_lie_beside_the_manifest_and_may_be_missing(tmp_path: Path) -> None:
    book = tmp_path / "a.b.csv"
    assert manifest.recordings_path(book) == tmp_path / "a.b.recordings.csv"
    assert manifest.is_recordings_file(manifest.recordings_path(book))
    assert not manifest.is_recordings_file(book)
    assert manifest.read_recordings(book) == {}


def test_recordings_are_looked_up_in_any_order(tmp_path: Path) -> None:
    book = tmp_path / "m.csv"
    told = [Recording(f"R{n}", Path(f"/{n}.wav"), site=str(n)) for n in range(5)]
    manifest.write_recordings(book, told)
    for order in ([0, 1, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 0, 1, 0, 3, 1], [2, 2]):
        lookup = manifest.RecordingLookup(book)
        assert [lookup.get(f"R{n}") for n in order] == [told[n] for n in order]
        assert lookup.get("other") is None
        assert lookup.get("R2") == told[2]
    assert manifest.RecordingLookup(tmp_path / "none.csv").get("R1") is None


def test_a_look_through_in_order_keeps_one_recording(tmp_path: Path) -> None:
    book = tmp_path / "m.csv"
    count = 5_000
    manifest.write_recordings(book, (Recording(f"R{n}", Path("/d/R.wav"), site=f"S{n}") for n in range(count)))
    lookup = manifest.RecordingLookup(book)
    lookup.get("R0")
    tracemalloc.start()
    assert all(lookup.get(f"R{n}") is not None for n in range(count))
    assert tracemalloc.get_traced_memory()[1] < 200_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("R,/a.wav,yesterday", "no time"),
        ("R,/a.wav,\nR,/b.wav,", "twice"),
        ("a/b,/a.wav,", "cannot name a file"),
        ("R,/a.wav", "2 fields"),
    ],
)
def test_bad_recordings_are_refused_by_line(tmp_path: Path, rows: str, complaint: str) -> None:
    (tmp_path / "m.recordings.csv").write_text(f"recording_id,path,started_at\n{rows}\n")
    with pytest.raises(ManifestError, match=complaint) as caught:
        manifest.read_recordings(tmp_path / "m.csv")
    assert f"m.recordings.csv, line {len(rows.splitlines()) + 1}:" in caught.value.message
