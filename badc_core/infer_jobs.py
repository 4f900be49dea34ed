"""Analysing the manifests of a dataset one by one: which there are, what is left of them, and the plan as a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import attrs
from attrs import frozen

from badc_core import annex, manifest, plan_files
from badc_core.chunk_status import STATUS_FILE, read_status
from badc_core.errors import ManifestError
from badc_core.layout import relative_to_dataset
from badc_core.results import ignore, read_result

__all__ = ["InferJob", "Places", "find_manifests", "is_done", "manifests_of_plan", "plan_jobs", "unfinished_chunks"]
__all__ += ["write_plan_csv", "write_plan_json"]

Tell = Callable[[str], None]


@frozen
class InferJob:
    """Analysing one manifest; also a row of an inference plan.

    Parameters
    ----------
    recording_id
        Stem of the manifest's file name.
    manifest_path
        The manifest.
    output_dir, recording_output_dir
        Where results go, and the folder of this recording in it.
    telemetry_log
        The log; always the same, so that its summary tells of all runs.
    use_hawkears, hawkears_args
        Whether HawkEars listens, and with which arguments.
    max_gpus, cpu_workers
        Worker slots.
    chunk_status
        Of the recording's chunk files; ``None`` without a status file.
    chunk_status_path
        The status file; ``None`` where none is needed, because chunks are slices of the recording.
    """

    recording_id: str
    manifest_path: Path
    output_dir: Path
    recording_output_dir: Path
    telemetry_log: Path
    use_hawkears: bool
    hawkears_args: tuple[str, ...]
    max_gpus: int | None
    cpu_workers: int
    chunk_status: str | None
    chunk_status_path: Path | None


@frozen
class Places:
    """Where things of a dataset lie; relative ones count from the dataset.

    Parameters
    ----------
    dataset
        Its folder.
    manifests, chunks, results, telemetry
        Folders.
    """

    dataset: Path
    manifests: Path
    chunks: Path
    results: Path
    telemetry: Path

    def inside(self, path: Path) -> Path:
        """Return a path of the dataset."""
        return relative_to_dataset(path, self.dataset)


# ---------------------------------------------------------------------------------------------- manifests


def find_manifests(places: Places, pattern: str) -> list[Path]:
    """Return the manifests of a dataset, at any depth, sorted.

    Raises
    ------
    ManifestError
        There is no folder of manifests.
    """
    folder = places.inside(places.manifests)
    if not folder.is_dir():
        raise ManifestError(f"There is no folder {folder}.", hint="`badc chunk orchestrate` makes manifests.")
    return sorted(path for path in folder.rglob(pattern) if not path.is_dir() and not manifest.is_recordings_file(path))


def manifests_of_plan(plan: Path, dataset: Path, on_problem: Tell) -> list[Path]:
    """Return the manifests that a chunk plan or an inference plan names, in its order.

    Parameters
    ----------
    plan
        JSON where its name ends in ``.json``, else CSV.
    dataset
        What relative names count from; or the working folder, where only that has such a file.
    on_problem
        Told of manifests that are not there; they are left out.

    Raises
    ------
    ManifestError
        It cannot be read as a plan.
    """
    found: dict[Path, None] = {}
    for row in plan_files.read_rows(plan):
        name = row.get("manifest_path") or row.get("manifest")
        if not isinstance(name, str) or not name:
            continue
        path = Path(name).expanduser()
        if not path.is_absolute():
            inside = dataset / path
            elsewhere = not inside.exists() and path.exists() and not annex.content_missing(inside)
            path = path.absolute() if elsewhere else inside
        if path.exists() or annex.content_missing(path):
            found[path] = None
        else:
            on_problem(f"{plan} names {path}, which is not there.")
    return list(found)


# -------------------------------------------------------------------------------------------------- jobs


def is_done(path: Path, results: Path, on_runner: Tell = lambda runner: None) -> bool:
    """Whether every chunk of a manifest has a result that did not fail.

    Which model it is of is not asked: that is what a run does.

    Parameters
    ----------
    path
        The manifest.
    results
        The output folder.
    on_runner
        Told of the runner that made each result.
    """
    names: dict[str, set[str]] = {}
    some = False
    for chunk in manifest.read(path):
        folder = results / chunk.recording_id
        if chunk.recording_id not in names:
            names[chunk.recording_id] = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
        if f"{chunk.chunk_id}.json" not in names[chunk.recording_id]:
            return False
        result = folder / f"{chunk.chunk_id}.json"
        if not annex.content_missing(result):
            stored = read_result(result, ignore)
            if stored is None or stored.document.get("status") == "failed":
                return False
            on_runner(str(stored.document.get("runner") or "an unknown runner"))
        some = True
    return some


def plan_jobs(
    manifests: Iterable[Path],
    places: Places,
    *,
    use_hawkears: bool = False,
    hawkears_args: Sequence[str] = (),
    max_gpus: int | None = None,
    cpu_workers: int = 0,
    include_existing: bool = False,
    is_finished: Callable[[Path, Path], bool] = is_done,
    limit: int = 0,
    on_problem: Tell = lambda text: None,
) -> list[InferJob]:
    """Return what is to be analysed.

    Parameters
    ----------
    manifests
        See :func:`find_manifests` and :func:`manifests_of_plan`.
    places
        Where things lie.
    use_hawkears, hawkears_args, max_gpus, cpu_workers
        For the plan.
    include_existing
        Take manifests that are finished, too.
    is_finished
        Whether a manifest is, given the folder of results.
    limit
        At most so many; 0: all.
    on_problem
        Told of manifests that cannot be read; they are left out.

    Raises
    ------
    ManifestError
        Two manifests have one name, so that their results could not be told apart.
    """
    jobs: dict[str, InferJob] = {}
    results = places.inside(places.results)
    for path in manifests:
        recording_id = path.stem
        if recording_id in jobs:
            both = f"{jobs[recording_id].manifest_path} and {path}"
            raise ManifestError(f"{both} have one name, and so would their results.", hint="Rename one of them.")
        try:
            if not include_existing and is_finished(path, results):
                continue
            sliced = _is_sliced(path)
        except ManifestError as error:
            on_problem(str(error))
            continue
        chunks = places.inside(places.chunks) / recording_id
        status = read_status(chunks)
        jobs[recording_id] = InferJob(
            recording_id,
            path,
            results,
            results / recording_id,
            places.inside(places.telemetry) / "infer" / f"{recording_id}.jsonl",
            use_hawkears,
            tuple(hawkears_args),
            max_gpus,
            cpu_workers,
            status,
            None if sliced and status is None else chunks / STATUS_FILE,
        )
        if limit and len(jobs) >= limit:
            break
    return list(jobs.values())


def _is_sliced(path: Path) -> bool:
    """Whether the chunks of a manifest are slices of recordings; such need no chunk files."""
    first = next(iter(manifest.read(path)), None)
    return first is not None and first.offset_ms is not None


def unfinished_chunks(jobs: Iterable[InferJob]) -> list[InferJob]:
    """Return the jobs whose chunk files are not known to be complete."""
    return [job for job in jobs if job.chunk_status_path is not None and job.chunk_status != "completed"]


# ------------------------------------------------------------------------------------------------- plans


def write_plan_json(path: Path, jobs: Iterable[InferJob]) -> None:
    """Write an inference plan as JSON."""
    plan_files.write_json(path, map(plan_files.plan_row, jobs))


def write_plan_csv(path: Path, jobs: Iterable[InferJob]) -> None:
    """Write an inference plan as CSV."""
    plan_files.write_csv(path, [spec.name for spec in attrs.fields(InferJob)], map(plan_files.plan_row, jobs))
