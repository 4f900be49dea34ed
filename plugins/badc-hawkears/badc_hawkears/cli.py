"""The commands ``badc hawkears …``: parse, call, print."""

from __future__ import annotations

import importlib.util
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from badc_core.cli.options import FilePath
from badc_core.cli.progress import duration
from badc_core.cli.wording import counted, naming
from badc_core.errors import BadcError, ExitCode, UsageError

if TYPE_CHECKING:
    from badc_core.results import Problem
    from badc_hawkears.recipe import Recipe, Step
    from badc_hawkears.setup import Done, Ended


@click.command("setup", short_help="Make an environment with HawkEars, and try it.")
@click.option("--cpu", is_flag=True, help="Compute on CPUs.  [default: where there is no GPU]")
@click.option(
    "--cuda", metavar="VERSION", help="Compute on GPUs of NVIDIA, with a torch for this CUDA: 12.8; `any` takes any."
)
@click.option(
    "--path",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to make.  [default: ~/.local/share/badc/hawkears]",
)
@click.option("--python", metavar="PROGRAM", help="Make the environment with this Python.  [default: badc's own]")
@click.option("--torch", metavar="VERSION", help="Another version of torch than the one that was tested.")
@click.option("--index-url", metavar="URL", help="Where pip finds torch; for anything else it asks its usual index.")
@click.option("--weights/--no-weights", default=True, show_default=True, help="Fetch HawkEars' weights.")
@click.option(
    "--remember/--no-remember",
    default=True,
    show_default=True,
    help="Let `--use-hawkears` find it without -o python=… and -o root=….",
)
@click.option("--dry-run", is_flag=True, help="Only print the commands.")
def setup(remember: bool, dry_run: bool, **asked: Any) -> None:
    """Make an environment with HawkEars and its data folder, and try it.

    HawkEars needs versions of libraries that would not fit into other environments, so it gets one of its own. This
    takes a few minutes, a network, and 2 GB (8 GB with CUDA). The same line again goes on where the last one ended, and
    does nothing when all is there.
    """
    from badc_hawkears.setup import setup as make_it

    recipe = _recipe(**asked)
    if dry_run:
        _print_commands(recipe)
        return
    click.echo(f"HawkEars goes to {recipe.path}")
    try:
        done = make_it(recipe, _teller(recipe), memorize=remember)
    except BaseException:
        click.echo()  # ends the line of the step
        raise
    _tell(done, recipe)


def _recipe(
    cpu: bool,
    cuda: str | None,
    path: Path | None,
    python: str | None,
    torch: str | None,
    index_url: str | None,
    weights: bool,
) -> Recipe:
    """Return the recipe that the options ask for."""
    from badc_hawkears.recipe import Recipe
    from badc_hawkears.setup import default_path, interpreter, sources

    if cpu and cuda:
        raise UsageError("--cpu and --cuda cannot both be wanted.", hint="Give one of them, or none.")
    wants_gpu = cuda is not None or (not cpu and _has_gpu())
    return Recipe(
        Path(os.path.normpath((path or default_path()).expanduser().absolute())),  # the commands name it
        interpreter(python),
        sources(),
        kind="cuda" if wants_gpu else "cpu",
        cuda=None if cuda == "any" else cuda,
        torch=torch,
        index_url=index_url,
        weights=weights,
    )


def _has_gpu() -> bool:
    from badc_core.devices import close_samplers, open_samplers, worker_slots
    from badc_core.host import default_host

    samplers = open_samplers(default_host())
    try:
        return any(device.kind == "gpu" for device in worker_slots(samplers, None, 0))
    finally:
        close_samplers(samplers)


def _print_commands(recipe: Recipe) -> None:
    from badc_hawkears.recipe import steps

    for step in steps(recipe):
        click.echo(f"# {step.title}")
        for line in step.lines():
            click.echo(line)


def _teller(recipe: Recipe) -> Callable[[Step, Ended | None], None]:
    """Return what tells of each step: what it is when it begins, and how long it took when it ends."""
    from badc_hawkears.recipe import steps

    names = [step.name for step in steps(recipe)]

    def tell(step: Step, ended: Ended | None) -> None:
        if ended is None:
            click.echo(f"{names.index(step.name) + 1}/{len(names)} {step.title} … ", nl=False)
        elif ended.problem is not None:
            click.echo("not to be had")
        else:
            click.echo("there already" if ended.seconds is None else duration(ended.seconds))

    return tell


def _tell(done: Done, recipe: Recipe) -> None:
    """Print what there is now, and what is missing."""
    built = "for CPUs" if done.cuda is None else f"for CUDA {done.cuda}, which sees {done.gpus} GPU(s)"
    click.echo(f"torch {done.torch}, {built}.")
    if recipe.kind == "cpu" and done.cuda is not None:
        click.echo("A torch for CPUs alone is much smaller; PyTorch has a package index for it: --index-url URL")
    if recipe.kind == "cuda" and not done.gpus:
        click.secho("This torch sees no GPU here. Where there is one, it can be used.", fg="yellow", err=True)
    if done.memory is not None:
        click.echo(f"Remembered in {done.memory}: `badc infer run MANIFEST --use-hawkears` finds it.")
    else:
        click.echo(f"Use it with -o python={done.places.python} -o root={done.places.root}")
    fetch = shlex.join([str(recipe.environment / "bin" / "hawkears"), "init", "--dest", str(done.places.root)])
    if done.weights is not None:
        raise BadcError(f"All is there but HawkEars' weights: {done.weights}", hint=f"Fetch them later: {fetch}")
    if not recipe.weights:
        click.echo(f"Weights were not asked for. They are fetched by: {fetch}")


_RESULTS = click.argument("detections_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.command("scores", short_help="Make a table of the frame scores that results keep.")
@_RESULTS
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="The file to make: .parquet, or .csv for few."
)
def scores(detections_dir: Path, output: Path) -> int:
    """Make a table of the frame scores that results in DETECTIONS_DIR keep, a row for each 0.25 s and class.

    They are there when the run was made with `-o keep=scores`: all from 0.1 on, or from `-o floor`. Another threshold
    is a query then. Exit status 3: some files could not be read; they are named, and the rest is in the table.
    """
    from badc_hawkears.kept import write_scores

    return _tabulate(write_scores, detections_dir, output, "score")


@click.command("embeddings", short_help="Make a table of the embeddings that results keep.")
@_RESULTS
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The Parquet file to make.")
def embeddings(detections_dir: Path, output: Path) -> int:
    """Make a table of the embeddings that results in DETECTIONS_DIR keep, a row for each window of 3 s.

    They are there when the run was made with `-o keep=embeddings`. Exit status 3: some files could not be read; they
    are named, and the rest is in the table.
    """
    from badc_hawkears.kept import write_embeddings

    return _tabulate(write_embeddings, detections_dir, output, "embedding")


@click.command("aggregate", short_help="Compile results into a table at another threshold.")
@_RESULTS
@click.option("--min-score", type=click.FloatRange(0, 1, min_open=True), required=True, help="The threshold.")
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="The CSV file to make, as of infer aggregate."
)
@click.option("--parquet", type=click.Path(path_type=Path), help="Make a Parquet file, too.")
@click.option(
    "--manifest",
    type=FilePath(),
    help="Adds what results lack, and tells apart results of another chunking.",
)
def aggregate(detections_dir: Path, min_score: float, output: Path, parquet: Path | None, manifest: Path | None) -> int:
    """Compile results below DETECTIONS_DIR into the table of `badc infer aggregate`, at another threshold.

    All of HawkEars' rules are applied, as if the run had been made with this threshold. Higher thresholds than that of
    the run can always be had, lower ones when the run was made with `-o keep=scores`. Exit status 3: some files could
    not be read, or some recordings not finished; they are named, and the rest is in the table.
    """
    from badc_hawkears.kept import at_threshold

    _needs("badc_duckdb")
    from badc_core.exporting import Export, open_exporters
    from badc_core.host import default_host
    from badc_core.specs import ExporterSpec
    from badc_duckdb.aggregation import aggregate as compile_results

    targets = {"csv": output, **({} if parquet is None else {"parquet": parquet})}
    wanted = [Export(default_host().find(ExporterSpec, name), path.expanduser()) for name, path in targets.items()]
    found = compile_results(
        detections_dir,
        open_exporters(wanted, None),
        beside=wanted[0].target,
        manifest=manifest,
        on_problem=_name,
        change=at_threshold(min_score),
    )
    where = f" of {counted(found.recordings, 'recording')}" if found.chunks else f": no results in {detections_dir}"
    click.echo(f"{counted(found.detections, 'detection')} from {min_score:g} on{where}.")
    for item in wanted if found.chunks else ():
        click.echo(f"{item.spec.name}: {item.target}")
    return int(ExitCode.SOME_FAILED if found.unreadable or found.unfinished else ExitCode.OK)


def _tabulate(write: Callable[..., int], folder: Path, output: Path, word: str) -> int:
    """Make a table of what is kept, and say how large it is."""
    _needs("badc_duckdb")
    problems = 0

    def count(problem: Problem) -> None:
        nonlocal problems
        if not problem.torn:
            problems += 1
            _name(problem)

    rows = write(folder, output.expanduser(), count)
    click.echo(f"{counted(rows, word)}: {output}")
    return int(ExitCode.SOME_FAILED if problems else ExitCode.OK)


def _name(problem: Problem) -> None:
    """Name a problem on stderr."""
    click.secho(naming(problem), fg="yellow", err=True)


def _needs(package: str) -> None:
    """Make sure that the plugin is there that knows tables."""
    if importlib.util.find_spec(package) is None:
        name = package.replace("_", "-")
        raise BadcError(
            f"Tables need the plugin {name}, which is not installed.", hint=f"Install it: pip install {name}"
        )
