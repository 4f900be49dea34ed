"""``badc chunk manifest``, ``split``, ``probe`` and ``run``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from badc_core.cli.complaints import Complaints
from badc_core.cli.wording import counted
from badc_core.config import Settings
from badc_core.errors import BadcError, ExitCode, RecordingError, UsageError

if TYPE_CHECKING:
    from badc_core.model import Chunk, Device, Recording
    from badc_core.protocols import SignalInfo
    from badc_core.recordings import RecordingRules

PATH = click.Path(path_type=Path)
SECONDS = click.FloatRange(0, min_open=True)

_duration = click.option(
    "--chunk-duration", type=SECONDS, default=60.0, show_default=True, metavar="SECONDS", help="Length of a chunk."
)
_overlap = click.option(
    "--overlap",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="How much a chunk shares with the one before.",
)


def settings_of(ctx: click.Context) -> Settings:
    """Return the settings that the root command read."""
    return ctx.obj if isinstance(ctx.obj, Settings) else Settings()


def finish(complaints: Complaints) -> int:
    """Return the exit status: whether something was lost on the way."""
    return int(ExitCode.SOME_FAILED if complaints.losses else ExitCode.OK)


# ---------------------------------------------------------------------------------------------- manifest


@click.command()
@click.argument("source", metavar="FILE_OR_DIR", type=PATH)
@_duration
@_overlap
@click.option("--output", type=PATH, default=Path("chunk_manifest.csv"), show_default=True, help="The manifest.")
@click.option("--recursive", is_flag=True, help="Look into subfolders, too.")
@click.option("--pattern", metavar="GLOB", help="Take only recordings whose names fit, such as '*_05*'.")
@click.option(
    "--hash-chunks/--no-hash-chunks",
    default=False,
    show_default=True,
    help="Write chunk files below artifacts/chunks, and list them with their digests.",
)
@click.pass_context
def manifest(
    ctx: click.Context,
    source: Path,
    chunk_duration: float,
    overlap: float,
    output: Path,
    recursive: bool,
    pattern: str | None,
    hash_chunks: bool,
) -> int:
    """List the chunks of a recording, or of all recordings in a folder.

    No samples are written: a chunk is a slice of its recording. Beside the manifest, <stem>.recordings.csv tells
    who, where and when. A recording that cannot be read is named and left out; the exit status is 3 then.
    """
    from badc_core import manifest as manifests
    from badc_core.chunking import check_lengths, virtual_chunks
    from badc_core.recordings import rules_from

    check_lengths(chunk_duration, overlap)
    complaints = Complaints()
    rules = rules_from(settings_of(ctx))
    described = list(_described(source, recursive, pattern, rules, complaints))
    if not described:
        raise BadcError(f"No recording in {source} could be read; no manifest was written.")

    def chunks() -> Iterator[Chunk]:
        for recording, info in described:
            if hash_chunks:
                yield from _written(recording, chunk_duration, overlap, complaints)
            else:
                yield from virtual_chunks(recording, info, chunk_duration, overlap)

    manifests.write_recordings(output, [recording for recording, _ in described])
    rows = manifests.write(output, chunks())
    click.echo(f"Wrote {counted(rows, 'chunk')} of {counted(len(described), 'recording')} to {output}")
    click.echo(f"Who, where, when: {manifests.recordings_path(output)}")
    return finish(complaints)


def _described(
    source: Path, recursive: bool, pattern: str | None, rules: RecordingRules, complaints: Complaints
) -> Iterator[tuple[Recording, SignalInfo]]:
    """Yield the recordings that can be opened; a single one that cannot is an error."""
    from badc_core.opening import known_suffixes, probe
    from badc_core.recordings import assign_ids, described, find

    single = not source.is_dir()
    root = source.parent if single else source
    if single:
        paths = [source]
    else:
        found = find(source, known_suffixes(), pattern=pattern, recursive=recursive, on_problem=complaints.lose)
        paths = list(found)
        if not paths:
            hint = f"Known names end in {', '.join(known_suffixes())}."
            hint += "" if recursive else " Add --recursive to look into subfolders."
            raise RecordingError(f"There are no recordings in {source}.", hint=hint)
    for path, recording_id in assign_ids(paths, root).items():
        try:
            info, hints = probe(path)
        except RecordingError as error:
            if single:
                raise
            complaints.lose(str(error))
            continue
        told = described(path.absolute(), recording_id, info, hints, rules, None if single else root.absolute())
        for problem in told.problems:
            complaints.warn(problem)
        if info.damage:
            complaints.warn(f"{path}: {info.damage}")
        yield told.recording, info


def _written(recording: Recording, duration: float, overlap: float, complaints: Complaints) -> Iterator[Chunk]:
    from badc_core.chunking import iter_chunk_metadata

    try:
        yield from iter_chunk_metadata(
            recording.path, duration, overlap, recording_id=recording.recording_id, on_problem=complaints.lose
        )
    except RecordingError as error:
        complaints.lose(str(error))


# ------------------------------------------------------------------------------------------------- split


@click.command()
@click.argument("file", type=PATH)
@_duration
@_overlap
@click.option("--manifest", "target", type=PATH, help="Write the chunks to this manifest, too.")
@click.pass_context
def split(ctx: click.Context, file: Path, chunk_duration: float, overlap: float, target: Path | None) -> int:
    """Show the chunks of a recording: id, start and end in milliseconds, separated by tabs."""
    from badc_core import manifest as manifests
    from badc_core.chunking import virtual_chunks
    from badc_core.opening import refuse_folder
    from badc_core.recordings import rules_from

    refuse_folder(file)
    complaints = Complaints()
    rules = rules_from(settings_of(ctx))
    for recording, info in _described(file, False, None, rules, complaints):
        for chunk in virtual_chunks(recording, info, chunk_duration, overlap):
            click.echo(f"{chunk.chunk_id}\t{chunk.start_ms}\t{chunk.end_ms}")
        if target is not None:
            manifests.write_recordings(target, [recording])
            manifests.write(target, virtual_chunks(recording, info, chunk_duration, overlap))
    return finish(complaints)


# ------------------------------------------------------------------------------------------------- probe


@click.command()
@click.argument("file", type=PATH)
@click.option(
    "--initial-duration", type=SECONDS, default=60.0, show_default=True, metavar="SECONDS", help="First length to try."
)
@click.option("--max-duration", type=SECONDS, metavar="SECONDS", help="Longest length.  [default: the recording's]")
@click.option("--tolerance", type=SECONDS, default=5.0, show_default=True, metavar="SECONDS", help="How close to come.")
@click.option("--gpu-index", type=click.IntRange(0), help="Which GPU.  [default: the first]")
@click.option("--log", type=PATH, help="Append the attempts here.  [default: artifacts/telemetry/chunk_probe/…]")
def probe(
    file: Path,
    initial_duration: float,
    max_duration: float | None,
    tolerance: float,
    gpu_index: int | None,
    log: Path | None,
) -> int:
    """Estimate a chunk length that fits the memory of a GPU."""
    from badc_core import opening
    from badc_core import probe as probing

    info, _ = opening.probe(file)
    longest = info.frames / info.sample_rate_hz
    device = _gpu(gpu_index)
    found = probing.search(
        lambda seconds: probing.estimate_mib(info, seconds),
        probing.memory_limit_mib(device),
        initial_duration,
        min(max_duration or longest, longest),
        tolerance,
    )
    now = dt.datetime.now(dt.UTC)
    log = log.expanduser() if log is not None else probing.default_log(file, now)
    probing.write_log(log, file, found, device, now)
    where = "no GPU found" if device is None else f"GPU {device.index}: {device.name}"
    if found.duration_s:
        click.echo(f"Recommended chunk duration: {found.duration_s:.2f} s")
    else:
        click.echo("No chunk duration fits.")
    click.echo(f"Estimate {probing.STRATEGY}, limit {found.limit_mib:.0f} MiB ({where})")
    click.echo(f"Log: {log}")
    for attempt in found.attempts[-3:]:
        click.echo(f"  {attempt.duration_s:.2f} s: {attempt.estimated_mib:.1f} MiB, {attempt.reason}")
    return int(ExitCode.OK if found.duration_s else ExitCode.ERROR)


def _gpu(index: int | None) -> Device | None:
    from badc_core.devices import open_samplers, worker_slots
    from badc_core.host import default_host

    samplers = open_samplers(default_host())
    try:
        gpus = [slot for slot in worker_slots(samplers, None, 0) if slot.kind == "gpu"]
    finally:
        for _, sampler in samplers:
            sampler.close()
    if index is None:
        return gpus[0] if gpus else None
    for gpu in gpus:
        if gpu.index == index:
            return gpu
    raise UsageError(f"There is no GPU {index} here.", hint="See what there is: badc gpus")


# --------------------------------------------------------------------------------------------------- run


@click.command()
@click.argument("file", type=PATH)
@click.option("--chunk-duration", type=SECONDS, required=True, metavar="SECONDS", help="Length of a chunk.")
@_overlap
@click.option("--output-dir", type=PATH, help="Folder of the chunk files.  [default: artifacts/chunks/<recording>]")
@click.option("--manifest", "manifest_path", type=PATH, help="The manifest.  [default: manifests/<recording>.csv]")
@click.option("--recording-id", metavar="ID", help="Name of the recording.  [default: the file's name]")
@click.option(
    "--dry-run/--write-chunks", default=False, show_default=True, help="Write only the manifest, marked DRY_RUN."
)
@click.option("--status", is_flag=True, help="Keep a status file among the chunk files, as `chunk orchestrate` does.")
@click.pass_context
def run(
    ctx: click.Context,
    file: Path,
    chunk_duration: float,
    overlap: float,
    output_dir: Path | None,
    manifest_path: Path | None,
    recording_id: str | None,
    dry_run: bool,
    status: bool,
) -> int:
    """Write the chunks of a recording as files of their own, then their manifest.

    Inside a dataset, relative folders count from its root. Links are not resolved: the recording is named after the
    link. Chunks that damage makes unreadable are named and left out; the exit status is 3 then.
    """
    from badc_core.chunk_jobs import cut, with_status
    from badc_core.chunk_status import Job
    from badc_core.layout import check_id, dataset_root, relative_to_dataset
    from badc_core.opening import refuse_folder
    from badc_core.recordings import rules_from

    refuse_folder(file)
    file = file.expanduser().absolute()
    name = check_id(recording_id or file.stem, "recording_id")
    dataset = dataset_root(file)
    home = dataset or file.parent
    job = Job(
        name,
        file,
        home / "manifests" / f"{name}.csv" if manifest_path is None else relative_to_dataset(manifest_path, dataset),
        home / "artifacts" / "chunks" / name if output_dir is None else relative_to_dataset(output_dir, dataset),
        chunk_duration,
        overlap,
    )
    complaints = Complaints()
    rules = rules_from(settings_of(ctx))

    def work(job: Job) -> int:
        return cut(job, rules, dry_run=dry_run, on_problem=complaints.warn, on_loss=complaints.lose)

    rows = with_status(job, work) if status and not dry_run else work(job)
    if not rows:
        raise RecordingError(f"Nothing of {file} can be read; no manifest was written.")
    done = "Would write" if dry_run else "Wrote"
    click.echo(f"{done} {counted(rows, 'chunk')} to {job.chunk_output_dir}")
    click.echo(f"Manifest: {job.manifest_path}")
    return finish(complaints)
