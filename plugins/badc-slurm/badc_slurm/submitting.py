"""Handing shards over to SLURM: once each, whatever becomes of this process; and no more than it takes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import evolve

from badc_core.atomic import write_text
from badc_core.config import fill
from badc_core.log import get_logger
from badc_core.plan import read_plan
from badc_core.run_folders import settled_shards
from badc_slurm.client import Client, SlurmError
from badc_slurm.journal import FOLDER, Journal, Part
from badc_slurm.options import SlurmOptions
from badc_slurm.processes import described, over
from badc_slurm.script import Place, array_script, withdrawn_path

__all__ = ["FULL", "Submitter", "frozen_options", "groups", "part_name"]

_log = get_logger("slurm")
_SHARE = 100
"""While tasks of ours are under way, room for less than this part of what is to be done is not looked for."""
_MOST_BEFORE = 50
"""An array waits for so many before it; those wait for the ones before them."""
FULL = "the queue is full"
"""Why shards wait to be handed over, in words of the journal."""


def frozen_options(journal: Journal) -> SlurmOptions:
    """Return the options with which a run was submitted first."""
    options = fill(SlurmOptions, journal.settings["options"], "scheduler 'slurm'")
    assert options is not None
    return options


def part_name(run_id: str, number: int) -> str:
    """Return the name of an array's job, which nobody else uses."""
    return f"badc-{run_id}-{number}"


def groups(shards: Iterable[int], largest: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Put shards into arrays whose indices all lie below the cluster's limit: offsets, and shards."""
    found: dict[int, list[int]] = {}
    for shard in shards:
        found.setdefault(shard // largest, []).append(shard)
    for group in sorted(found):
        yield group * largest, tuple(found[group])


class Submitter:
    """Hands the shards of one run over.

    Parameters
    ----------
    client
        How to reach SLURM.
    folder
        The run folder.
    journal
        What was handed over already; kept up to date.
    patience_s
        How long a submission of a process that was killed is waited for.
    stopping
        Says whether somebody asked to stop.
    """

    def __init__(
        self,
        client: Client,
        folder: Path,
        journal: Journal,
        patience_s: float,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._client = client
        self._folder = folder
        self._journal = journal
        self._patience_s = patience_s
        self._stopping = stopping

    # ------------------------------------------------------------------------- answers nobody wrote down

    def look_up(self) -> None:
        """Settle what became of submissions whose answer nobody wrote down.

        Raises
        ------
        SlurmError
            SLURM gives no answer.
        """
        for part in list(self._journal.parts.values()):
            if part.job_id is not None or part.withdrawn or (part.refused is not None and not part.unsure):
                continue
            if part.refused is None:
                over(part.process, self._patience_s)
            job_id = self._client.named(part.name)
            if job_id is not None:
                self._journal.note("submitted", name=part.name, job_id=job_id)
            elif part.refused is None:
                self._journal.note("refused", name=part.name, error="SLURM does not know it", unsure=True)

    def withdraw(self, shards: Collection[int]) -> None:
        """Have arrays that may still turn up do nothing, where their shards are handed over again or cancelled."""
        for part in list(self._journal.parts.values()):
            doubtful = part.job_id is None and (part.refused is None or part.unsure) and not part.withdrawn
            if doubtful and not set(shards).isdisjoint(part.shards):
                if part.refused is None:
                    self._journal.note("refused", name=part.name, error="withdrawn", unsure=True)
                write_text(withdrawn_path(self._folder, part.name), "Its shards were handed over again.\n")
                self._journal.note("withdrawn", name=part.name)

    # ------------------------------------------------------------------------------------- handing over

    def hand_over(
        self,
        shards: Sequence[int],
        *,
        memory: Mapping[int, str | None] | None = None,
        settled: Mapping[int, int] | None = None,
        going: bool = False,
        first: int = sys.maxsize,
        told: bool = False,
    ) -> int:
        """Submit shards, in as many arrays as it takes; return how many were taken, of which the rest may be told.

        Parameters
        ----------
        shards
            Which.
        memory
            What to ask for, where it differs from the options.
        settled
            How many chunks of them are settled.
        going
            Whether tasks of this run are under way.
        first
            There may be room for so many only.
        told
            The user knows that not all are taken at once.

        Raises
        ------
        SlurmError
            Not even the first array was taken, and that is not because there are too many.
        """
        if not shards:
            return 0
        options = frozen_options(self._journal)
        largest = min(self._client.largest_array(), options.max_array or sys.maxsize)
        memory, settled = memory or {}, settled or {}
        left = [
            Part("", offset, some, amount, settled={shard: settled[shard] for shard in some if settled.get(shard)})
            for amount in sorted({memory.get(shard) for shard in shards}, key=str)
            for offset, some in groups([shard for shard in shards if memory.get(shard) == amount], largest)
        ]
        taken, why = self._send(left, options, going, first)
        number = sum(len(part.shards) for part in left)
        if number:
            self._journal.note("left", shards=number, why=why)
        if number and not told:
            _log.warning(
                f"not all shards are handed over: {why}; whoever follows the run does that later",
                waiting=number,
                follow=f"badc jobs resume {shlex.quote(str(self._folder))}",
            )
        return taken

    def _send(self, left: list[Part], options: SlurmOptions, going: bool, most: int) -> tuple[int, str]:
        """Submit parts, and take them off the list; return how many shards were taken, and why not all."""
        taken, share = 0, max(1, sum(len(part.shards) for part in left) // _SHARE)
        while left:
            if self._stopping():
                return taken, "somebody asked to stop"
            part, rest = _split(left[0], most)
            try:
                self._submit(part, options)
            except SlurmError as error:
                if not error.full:
                    if taken or self._stopping():
                        return taken, error.message
                    raise
                most = len(part.shards) // 2
                if most < (share if going or taken else 1):
                    return taken, FULL
                continue
            taken += len(part.shards)
            most = most if most > sys.maxsize // 2 else 2 * most
            left[:1] = [] if rest is None else [rest]
        return taken, ""

    def _submit(self, part: Part, options: SlurmOptions) -> None:
        """Submit one array: noted before, looked up by its name when nobody knows the answer."""
        journal, settings = self._journal, self._journal.settings
        self.withdraw(part.shards)
        part = evolve(part, name=part_name(self._folder.name, len(journal.parts)))
        place = Place(self._folder, Path(settings["workdir"]), tuple(settings["badc"]))
        plan = read_plan(self._folder)
        after = self._before() if 0 < options.throttle < plan.shards else []
        script = self._folder / FOLDER / f"{part.name}.sh"
        write_text(script, array_script(options, place, part, plan.bases, waits=bool(after)))
        journal.intend(part)

        def sending(pid: int) -> None:
            journal.note("sending", name=part.name, process=described(pid))

        try:
            words = script.with_suffix(".out")
            job_id: str | None = self._client.submit(script, place.workdir, words, after=after, sending=sending)
        except SlurmError as error:
            if error.answered:
                journal.note("refused", name=part.name, error=error.message, full=error.full)
                raise
            job_id = self._client.named(part.name)  # where this raises, the intent stays, and is looked up later
            if job_id is None:
                journal.note("refused", name=part.name, error=error.message, unsure=True)
                raise
        journal.note("submitted", name=part.name, job_id=job_id)

    def _before(self) -> list[str]:
        """Return the jobs that have tasks still, so that the next one's would come on top of them."""
        done = settled_shards(self._folder)[0]
        parts = self._journal.parts.values()
        return self._client.active([p.name for p in parts if p.job_id and not done.issuperset(p.shards)])[
            -_MOST_BEFORE:
        ]


def _split(part: Part, most: int) -> tuple[Part, Part | None]:
    """Return a part of so many shards at most, and the rest."""
    if len(part.shards) <= most:
        return part, None
    one, other = part.shards[:most], part.shards[most:]
    settled = part.settled
    return (
        evolve(part, shards=one, settled={shard: settled[shard] for shard in one if shard in settled}),
        evolve(part, shards=other, settled={shard: settled[shard] for shard in other if shard in settled}),
    )
