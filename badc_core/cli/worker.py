"""``badc worker``: one shard of a run, in this process. Schedulers call it; people may, to see what goes wrong."""

from __future__ import annotations

from pathlib import Path

import click

from badc_core.errors import ExitCode


@click.command()
@click.argument("run_folder", type=click.Path(path_type=Path))
@click.option("--shard", type=click.IntRange(0), required=True, metavar="N", help="Which shard, from 0.")
@click.option("--life", default="", help="Names this attempt, unlike any other.  [default: host and process]")
@click.option("--place", default="", help="Names this machine in reports.  [default: its host name]")
def worker(run_folder: Path, shard: int, life: str, place: str) -> int:
    """Do shard N of the run that lies in RUN_FOLDER, as `badc infer run` planned it.

    Chunks that have their result are left out. SIGUSR1 and SIGTERM end the work after the batch in hand; then the exit
    status is 75, and the same command does the rest. Of a run that has ended, nothing is done; that is no failure.
    """
    from badc_core.run_folders import is_done, read_ended
    from badc_core.task import work_shard

    status = work_shard(run_folder.absolute(), shard, life=life, place=place)
    how = read_ended(run_folder).get("how")
    if status != ExitCode.OK:
        click.echo(f"Shard {shard} was stopped at a failure.")
    elif is_done(run_folder, shard):
        click.echo(f"Shard {shard} is done.")
    else:
        click.echo(f"Nothing was done: the run {run_folder.absolute().name} has ended ({how}), shard {shard} undone.")
    return status
