"""Where things lie: paths of datasets, sources, results, logs and run folders.

A dataset is a folder that holds ``.datalad``. Links are never resolved here: in a dataset, files are links whose
targets have meaningless names.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

from badc_core.errors import ManifestError

__all__ = [
    "DEFAULT_OUTPUT",
    "SEGMENTS_FOLDER",
    "STATE_FOLDER",
    "check_id",
    "dataset_of_source",
    "dataset_root",
    "default_telemetry_log",
    "output_base",
    "relative_to_dataset",
    "resolve_source",
    "result_path",
    "source_candidates",
    "source_name",
    "telemetry_slug",
]

DEFAULT_OUTPUT = Path("artifacts/infer")
"""Results, below the dataset or the working folder, unless the user says otherwise."""

STATE_FOLDER = ".badc"
"""Claims and run folders, below an output folder."""

SEGMENTS_FOLDER = "_segments"
"""Result files of layout ``segments``, below an output folder."""

_LONGEST_ID_BYTES = 240
_TAKEN = (".", "..", STATE_FOLDER, SEGMENTS_FOLDER)


@functools.lru_cache(maxsize=4096)
def _dataset_of_folder(folder: Path) -> Path | None:
    for candidate in (folder, *folder.parents):
        if os.path.exists(candidate / ".datalad"):  # noqa: PTH110 - an unreadable folder is no dataset, and no error
            return candidate
    return None


@functools.lru_cache(maxsize=4096)
def _dataset_of_folder_text(folder: str) -> str | None:
    root = _dataset_of_folder(Path(folder).absolute())
    return None if root is None else str(root)


def dataset_of_source(source: str) -> str | None:
    """Return the dataset that holds a source file, as text: for hot paths, where a folder is asked for many times."""
    return _dataset_of_folder_text(os.path.dirname(source))  # noqa: PTH120 - hot path


def dataset_root(path: Path) -> Path | None:
    """Return the dataset that holds `path`, or ``None``; `path` itself when it is a dataset's folder."""
    absolute = path.absolute()
    return _dataset_of_folder(absolute if absolute.is_dir() else absolute.parent)


def relative_to_dataset(path: Path, dataset: Path | None) -> Path:
    """Return where a path option points: a relative one counts from the dataset, else from the working folder."""
    path = path.expanduser()
    if path.is_absolute():
        return path
    return (dataset or Path.cwd()) / path


@functools.lru_cache(maxsize=4096)
def _default_base(source_folder: Path, working_folder: str) -> Path:
    return (_dataset_of_folder(working_folder / source_folder) or Path(working_folder)) / DEFAULT_OUTPUT


def output_base(source_path: Path, output_dir: Path) -> Path:
    """Return the folder that a chunk's results go below.

    Parameters
    ----------
    source_path
        The chunk's source; its dataset decides when `output_dir` was left at its default.
    output_dir
        What the user asked for.
    """
    if output_dir != DEFAULT_OUTPUT:
        return output_dir.expanduser().absolute()
    return _default_base(source_path.parent, os.getcwd())  # noqa: PTH109 - hot path


def result_path(base: Path, recording_id: str, chunk_id: str) -> Path:
    """Return the file of one chunk's result in layout ``files``."""
    return base / recording_id / f"{chunk_id}.json"


def check_id(text: str, what: str) -> str:
    r"""Return `text` if it is safe as a file name.

    Raises
    ------
    ManifestError
        It is empty, ``.``, ``..``, a folder of ours, too long, or holds ``/``, ``\`` or NUL.
    """
    if not text or text in _TAKEN or "/" in text or "\\" in text or "\0" in text:
        raise ManifestError(
            f"{what} {text!r} cannot name a file.",
            hint=f"Ids must not be empty or one of {', '.join(_TAKEN)}, nor hold '/', '\\' or NUL.",
        )
    if text in (STATE_FOLDER, SEGMENTS_FOLDER):
        raise ManifestError(f"{what} {text!r} is the name of a folder of BADC's own.", hint="Rename the recording.")
    if len(text) > 60 and len(text.encode("utf-8", "surrogateescape")) > _LONGEST_ID_BYTES:
        raise ManifestError(
            f"{what} {text[:40]!r}… is longer than {_LONGEST_ID_BYTES} bytes, too long for a file name.",
            hint="Shorten the recording's name.",
        )
    return text


def telemetry_slug(manifest: Path) -> str:
    """Return the beginning of a log's name: the manifest's stem with blanks made ``_``."""
    return "_".join(manifest.stem.split())


def default_telemetry_log(manifest: Path, first_source: Path | None, output_dir: Path, stamp: str) -> Path:
    """Return where telemetry goes when the user named no place.

    Parameters
    ----------
    manifest
        Names the log.
    first_source
        Source of the first chunk, whose dataset holds the log when results go to their default place.
    output_dir
        What the user asked for.
    stamp
        UTC, ``YYYYMMDDTHHMMSSZ``.
    """
    name = f"{telemetry_slug(manifest)}_{stamp}.jsonl"
    if output_dir == DEFAULT_OUTPUT and first_source is not None:
        root = dataset_root(first_source)
        if root is not None:
            return root / "artifacts" / "telemetry" / name
    return Path.cwd() / "data" / "telemetry" / "infer" / name


def source_candidates(source: Path, manifest: Path) -> Iterator[Path]:
    """Yield the places a manifest's `source_path` may mean, in the order in which to try them.

    The manifest's own dataset comes first: who works on a clone from a folder that holds files of the same names, such
    as the original, means the clone's.
    """
    if source.is_absolute():
        yield source
        return
    root = dataset_root(manifest)
    if root is not None:
        yield root / source
    yield Path.cwd() / source
    yield manifest.absolute().parent / source


def resolve_source(source: Path, manifest: Path) -> Path:
    """Return the file that a manifest's `source_path` means.

    An absolute path is taken as it is, without a look at the disk. A relative one counts from the manifest's dataset,
    the working folder or the manifest's folder. Where only one of these places has the folder, it is that one; where
    several have it, the first that has the file. Where nothing is found it is the first place, for the message.
    Folders are looked for once per process, so a million chunk files do not cost a million questions.

    Parameters
    ----------
    source
        As read from the manifest.
    manifest
        Where it was read from.
    """
    if source.is_absolute():
        return source
    folders = _places(source.parent, manifest, os.getcwd())  # noqa: PTH109 - a text is the cheaper key
    if not folders:
        folders = _places.__wrapped__(source.parent, manifest, "")  # may have been made since
    if len(folders) == 1:
        return folders[0] / source.name
    for folder in folders:
        if os.path.lexists(folder / source.name):
            return folder / source.name
    return next(source_candidates(source, manifest))


@functools.lru_cache(maxsize=4096)
def _places(folder: Path, manifest: Path, working_folder: str) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(place for place in source_candidates(folder, manifest) if os.path.isdir(place)))  # noqa: PTH112 - never raises


def source_name(source: Path, dataset: Path | None) -> str:
    """Return how a manifest names a source: from the root of the manifest's dataset where it holds the source.

    Copies and clones of a dataset then name their own files. Any other source is named as it is.

    Parameters
    ----------
    source
        The file.
    dataset
        That holds the manifest; ``None``: none does.
    """
    text = str(source)
    if dataset is None or not source.is_absolute():
        return text
    folder, _, name = text.rpartition("/")
    within = _within(folder, dataset)
    return text if within is None else f"{within}/{name}" if within else name


@functools.lru_cache(maxsize=4096)
def _within(folder: str, dataset: Path) -> str | None:
    """Return a folder as it reads from a dataset that may have been reached by another name, through a link."""
    plain = Path(os.path.normpath(folder))
    path = plain if _same(plain, folder) else Path(folder)  # `..` behind a link leads elsewhere
    for parent in (path, *path.parents):
        if parent == dataset or _same(parent, dataset):
            return "" if parent == path else str(path.relative_to(parent))
    return None


def _same(one: Path, other: Path | str) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
