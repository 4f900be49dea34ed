"""The commands ``badc hawkears …``: parse, call, print."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from badc_core.cli.progress import duration
from badc_core.errors import BadcError, UsageError

if TYPE_CHECKING:
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
def setup(
    cpu: bool,
    cuda: str | None,
    path: Path | None,
    python: str | None,
    torch: str | None,
    index_url: str | None,
    weights: bool,
    remember: bool,
    dry_run: bool,
) -> None:
    """Make an environment with HawkEars and its data folder, and try it.

    HawkEars needs versions of libraries that would not fit into other environments, so it gets one of its own. This
    takes a few minutes, a network, and 2 GB (8 GB with CUDA). The same line again goes on where the last one ended, and
    does nothing when all is there.
    """
    from badc_hawkears.setup import setup as make_it

    recipe = _recipe(cpu, cuda, path, python, torch, index_url, weights)
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
