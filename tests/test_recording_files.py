"""Finding recordings, and giving them ids."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badc_core.errors import RecordingError
from badc_core.layout import check_id
from badc_core.recording_files import assign_ids, find

ROOT = Path("/data/set")


def tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def found(root: Path, **options: object) -> list[str]:
    return [str(path.relative_to(root)) for path in find(root, {".wav", ".flac"}, **options)]  # type: ignore[arg-type]


def test_recordings_are_found_sorted_and_the_rest_is_left_alone(tmp_path: Path) -> None:
    tree(tmp_path, "b.WAV", "a/z.flac", "a/y, \n鳥.wav", "c/d/e.wav", "readme.txt", "c/x.wav.part", "c/.x.wav.a8Gh3k")
    tree(tmp_path, ".git/g.wav", ".datalad/d.wav", "._b.wav", "artifacts/chunks/R/R_chunk_0_1.wav", "old.wav~")
    assert found(tmp_path) == ["a/y, \n鳥.wav", "a/z.flac", "b.WAV", "c/d/e.wav"]
    assert found(tmp_path, recursive=False) == ["b.WAV"]
    assert list(find(tmp_path, {".wav"})) == sorted(find(tmp_path, {".wav"}))


def test_patterns_ignore_letter_case(tmp_path: Path) -> None:
    tree(tmp_path, "A.WAV", "b.wav", "c.flac", "Site/d.wav")
    assert found(tmp_path, pattern="*.wav") == ["A.WAV", "Site/d.wav", "b.wav"]
    assert found(tmp_path, pattern="site/*") == ["Site/d.wav"]


def test_empty_files_are_reported_or_taken(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    said: list[str] = []
    assert found(tmp_path, on_problem=said.append) == []
    assert said == [f"{tmp_path / 'a.wav'} is empty; left out"]
    assert found(tmp_path, skip_empty=False) == ["a.wav"]


def test_links_keep_their_names_and_loops_end(tmp_path: Path) -> None:
    tree(tmp_path, "annex/MD5E-s1--1eca.wav", "in/real/a.wav", "out/b.wav", "out/deep/c.wav")
    root = tmp_path / "in"
    (root / "GNWT-290_20230331_235938.wav").symlink_to("../annex/MD5E-s1--1eca.wav")
    (root / "gone.wav").symlink_to("../annex/MD5E-s1--9999.wav")  # content not fetched
    (root / "loop").symlink_to(".")
    (root / "parent").symlink_to("..")
    (root / "real/again").symlink_to("../real")
    (root / "other").symlink_to("../out")
    (root / "zother").symlink_to("../out")
    (root / "self.wav").symlink_to("self.wav")
    said: list[str] = []
    assert found(root, on_problem=said.append) == [
        "GNWT-290_20230331_235938.wav",
        "gone.wav",
        "other/b.wav",
        "other/deep/c.wav",
        "real/a.wav",
    ]
    assert len(said) == 1
    assert "self.wav" in said[0]


def test_an_unreadable_folder_is_reported_and_the_rest_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a/1.wav", "b/2.wav", "c/3.wav")
    locked = tmp_path / "b"
    locked.chmod(0)
    try:
        if os.access(locked, os.R_OK):  # root reads everything; then the system's answer is made here
            real = os.scandir

            def scandir(path: Path) -> object:
                if Path(path) == locked:
                    raise PermissionError(13, "Permission denied")
                return real(path)

            monkeypatch.setattr(os, "scandir", scandir)
        said: list[str] = []
        assert found(tmp_path, on_problem=said.append) == ["a/1.wav", "c/3.wav"]
    finally:
        locked.chmod(0o755)
    assert len(said) == 1
    assert str(locked) in said[0]
    assert "Permission denied" in said[0]


def test_names_that_are_no_utf8_are_found(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.wav")).write_bytes(b"x")
    assert [os.fsencode(path.name) for path in find(tmp_path, {".wav"})] == [b"caf\xe9.wav"]


def test_folders_may_be_nested_deeper_than_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    depth = sys.getrecursionlimit() + 50
    for _ in range(depth):
        Path("d").mkdir()
        os.chdir("d")
    Path("a.wav").write_bytes(b"x")
    os.chdir(tmp_path)
    try:
        assert [path.name for path in find(Path(), {".wav"})] == ["a.wav"]
    finally:  # shutil.rmtree cannot go so deep
        deepest = Path(*["d"] * depth)
        (deepest / "a.wav").unlink()
        for folder in (deepest, *deepest.parents[:-1]):
            folder.rmdir()


def test_a_file_and_a_missing_folder(tmp_path: Path) -> None:
    tree(tmp_path, "a.wav")
    assert list(find(tmp_path / "a.wav", {".wav"})) == [tmp_path / "a.wav"]
    with pytest.raises(RecordingError, match="no folder"):
        list(find(tmp_path / "nothing", {".wav"}))


# ------------------------------------------------------------------------------------------- ids


def ids(*names: str) -> list[str]:
    return list(assign_ids([ROOT / name for name in names], ROOT).values())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/x.wav", "b/y.wav"], ["x", "y"]),
        (["a/x.wav", "b/x.wav", "b/y.wav"], ["a__x", "b__x", "y"]),
        (["s/A/Data/x.wav", "s/B/Data/x.wav"], ["A__Data__x", "B__Data__x"]),
        (["x.wav", "a/x.wav"], ["x", "a__x"]),
        (["a/x.wav", "a/x.flac"], ["x.wav", "x.flac"]),
        (["a/x.wav", "a/x.flac", "b/x.wav"], ["a__x.wav", "a__x.flac", "b__x"]),
        (["a/X.wav", "b/x.wav"], ["a__X", "b__x"]),
        (["a/caf\u00e9.wav", "b/cafe\u0301.wav"], ["a__caf\u00e9", "b__cafe\u0301"]),
        (["a/Straße.wav", "b/STRASSE.wav"], ["a__Straße", "b__STRASSE"]),
        (["a/x.wav", "b/x.wav", "a__x.wav"], ["a__x", "b__x", "a__x"]),
    ],
)
def test_ids_are_stems_with_as_many_folders_as_needed(names: list[str], expected: list[str]) -> None:
    made = ids(*names)
    if "a__x.wav" in names:  # the name is taken already: no two may be the same
        assert len(set(made)) == len(made)
        assert made[2] == "a__x"
    else:
        assert made == expected


def test_ids_do_not_depend_on_order_nor_on_other_recordings() -> None:
    names = ["a/x.wav", "b/x.wav", "A/X.wav", "c/y.wav", "c/Y.wav", "c/z.wav"]
    one = assign_ids([ROOT / name for name in names], ROOT)
    assert assign_ids([ROOT / name for name in reversed(names)], ROOT) == one
    assert {p: i for p, i in assign_ids([*one, ROOT / "q/new.wav"], ROOT).items() if p in one} == one


path_parts = st.sampled_from(
    ["a", "A", "é", "e\u0301", "..", "b\\", "b_", "_segments", "x" * 240, "鳥" * 80, "\udcff", "a__a"]
)
path_lists = st.lists(
    st.builds(
        lambda folders, stem, suffix: ROOT.joinpath(*[f for f in folders if f != ".."], stem + suffix),
        st.lists(path_parts, max_size=3),
        path_parts,
        st.sampled_from([".wav", ".WAV", ".flac", ""]),
    ),
    max_size=8,
    unique=True,
)


@given(path_lists)
def test_ids_are_valid_and_distinct_even_where_letter_case_does_not_count(paths: list[Path]) -> None:
    made = assign_ids(paths, ROOT)
    assert list(made) == paths
    for name in made.values():
        check_id(f"{name}_chunk_360000000_360060000", "chunk_id")
    folded = {unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()) for name in made.values()}
    assert len(folded) == len(paths)
