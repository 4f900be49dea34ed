"""Where things lie: paths of datasets, results, logs and run folders. Pure functions of paths.

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
    "result_path",
    "source_candidates",
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
    """Yield the places a manifest's `source_path` may mean, in the order in which to try them."""
    yield source if source.is_absolute() else Path.cwd() / source
    if not source.is_absolute():
        root = dataset_root(manifest)
        if root is not None:
            yield root / source
        yield manifest.absolute().parent / source
