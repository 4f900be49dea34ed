"""The mode ``cli``: HawkEars' command on batches of recordings, whichever version of it; judged by what it wrote.

Its exit status is 0 on most failures, and one bad file costs it the whole batch. So the table that it writes at its end
decides, and a batch without one is halved until the bad file is found.
"""

from __future__ import annotations

import json
import re
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path

from badc_core.errors import RunnerError
from badc_core.protocols import WorkerContext
from badc_hawkears.csvs import Row, read_table
from badc_hawkears.environment import ask, interpreter, tell
from badc_hawkears.identity import data_root, identity_of
from badc_hawkears.modes.names import class_names
from badc_hawkears.modes.programs import (
    Program,
    apart,
    by_halves,
    environment,
    failure,
    fresh_folder,
    last_line,
    link,
)
from badc_hawkears.modes.recordings import Label, RecordingRunner, Tell, Wanted, recording_error, settings_file
from badc_hawkears.options import HawkEarsOptions
from badc_hawkears.whereabouts import whereabouts_of

__all__ = ["Command", "open_command", "switches"]

_TABLES = ("scores.csv", "HawkEars_labels.csv")
_NEEDED = ("--input", "--output", "--rtype", "--cfg", "--filelist")
_UNREADABLE = "Could not load recording"
"""So HawkEars begins when one is to blame, followed by its path; that spares the search for it."""
_SILENCE = "badc-silence"
_SILENCE_S = 4
_AUDIO = {".aac", ".aif", ".aiff", ".au", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav", ".wma"}
"""Names of other endings are passed over when HawkEars looks through a folder, though it may well read the files."""


def open_command(options: HawkEarsOptions, context: WorkerContext) -> RecordingRunner:
    """Return a runner that starts HawkEars' command, after a trial of it.

    Raises
    ------
    RunnerError
        There is no such command, it lacks an option, it fails even on silence, or a checkpoint is not as it should be.
    """
    root = data_root(options)
    told = tell(options)
    _check_checkpoints(options, root, told.settings)
    program = Program(_argv(interpreter(options)), root, environment(context, options.threads), context)
    quietly = switches(program, told.versions[0])
    settings = settings_file(context.scratch / "hawkears.yaml", told.settings)
    names = class_names(root, told.settings["hawkears"]["taxonomy_file"])
    command = Command(program, ("--cfg", str(settings), *quietly), context.scratch, names)
    command.try_out()
    return RecordingRunner(
        lambda: identity_of(options, told),
        command.hear,
        lambda recording: whereabouts_of(recording, told.settings["hawkears"]),
    )


def _check_checkpoints(options: HawkEarsOptions, root: Path, settings: Mapping[str, object]) -> None:
    """Have them checked where torch is."""
    wanted = json.dumps({"settings": settings, "root": str(root), "trust": options.trust})
    answer = ask(interpreter(options), "from badc_hawkears.engine.checkpoints import main; main()", wanted)
    if answer:
        raise RunnerError(answer["error"], hint=answer["hint"], retry=False)


def _argv(python: Path) -> tuple[str, ...]:
    """Return the command of an environment: its script where there is one, else what that script does."""
    script = python.parent / "hawkears"
    if script.is_file():
        return str(python), str(script), "analyze"
    return str(python), "-c", "from hawkears.cli import cli; cli(prog_name='hawkears')", "analyze"


def switches(program: Program, version: str) -> tuple[str, ...]:
    """Ask the command for its options, and return the switches to be used; one that is needed must be there."""
    ended = program.run(["--help"])
    offered = set(re.findall(r"--[a-z][\w-]*", ended.stdout))
    if not offered:
        raise _hopeless(failure(ended, "told no options"))
    missing = [option for option in _NEEDED if option not in offered]
    if missing:
        raise RunnerError(
            f"The command of HawkEars {version} has no option {' and no '.join(missing)}.",
            hint="Install hawkears 2.3.",
            retry=False,
        )
    return ("--quiet",) if "--quiet" in offered else ()


class Command:
    """HawkEars' command with its settings.

    Parameters
    ----------
    program
        The command.
    words
        Arguments for every batch.
    scratch
        Where links to recordings and outputs go.
    names
        Code and name of each label, see :func:`~badc_hawkears.modes.names.class_names`.
    """

    def __init__(
        self, program: Program, words: Sequence[str], scratch: Path, names: Mapping[str, tuple[str, str]]
    ) -> None:
        self._program = program
        self._words = words
        self._inputs, self._output = scratch / "recordings", scratch / "output"
        self._filelist = scratch / "places.csv"
        self._silence = scratch / f"{_SILENCE}.wav"
        self._names = names
        with wave.open(str(self._silence), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(bytes(2 * 16_000 * _SILENCE_S))

    def try_out(self) -> None:
        """Run the command on silence, to learn whether settings and weights are as it wants them.

        Raises
        ------
        RunnerError
            They are not.
        """
        try:
            self._table([])
        except RunnerError as error:
            raise _hopeless(error) from error

    def hear(self, wanted: Sequence[Wanted], tell: Tell) -> None:
        """Analyse recordings, each batch with places or without; a batch that fails is halved."""
        for known in (True, False):
            # The table tells recordings by their stems.
            for group in apart([one for one in wanted if one.whereabouts.known is known], lambda one: [one.path.stem]):
                self._by_halves(group, tell)

    def _by_halves(self, wanted: Sequence[Wanted], tell: Tell) -> None:
        by_halves(wanted, lambda some: self._run(some, tell), tell)

    def _run(self, wanted: Sequence[Wanted], tell: Tell) -> None:
        try:
            rows = self._table(wanted)
        except RunnerError as error:
            bad = next((one for one in wanted if f'{_UNREADABLE} "{one.path}"' in error.output), None)
            if bad is None:
                raise
            tell(bad, recording_error(bad.path, last_line(error.output)))
            if rest := [one for one in wanted if one is not bad]:
                self._by_halves(rest, tell)
            return
        found: dict[str, list[Label]] = {one.path.stem: [] for one in wanted}
        for row in rows:
            stem = row.source if row.source in found else Path(row.source).stem
            if stem in found:
                found[stem].append(self._label(row))
            elif stem != _SILENCE:
                raise RunnerError(f"HawkEars' table names {row.source!r}, which was not in the batch.")
        for one in wanted:
            tell(one, found[one.path.stem])

    def _table(self, wanted: Sequence[Wanted]) -> list[Row]:
        inputs, output = fresh_folder(self._inputs), fresh_folder(self._output)
        paths = [one.path for one in wanted]
        # With silence beside them there is a table even if the others are too short for HawkEars to hear at all.
        for path in [*paths, self._silence]:
            link(inputs, path.name if path.suffix.lower() in _AUDIO else f"{path.name}.wav", path)
        words = ["--input", str(inputs), "--output", str(output), "--rtype", "csv", *self._words]
        if any(one.whereabouts.known for one in wanted):
            self._write_places(wanted)
            words += ["--filelist", str(self._filelist)]
        ended = self._program.run(words, sum(one.chunks for one in wanted) or None)
        table = next((output / name for name in _TABLES if (output / name).is_file()), None)
        if table is None or ended.returncode < 0:
            raise failure(ended, "wrote no table of what it heard" if table is None else "may not have ended its table")
        return read_table(table)

    def _write_places(self, wanted: Sequence[Wanted]) -> None:
        import csv

        with self._filelist.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["filename", "latitude", "longitude", "region", "recording_date"])
            for path, place in [(one.path, one.whereabouts) for one in wanted] + [
                (self._silence.resolve(), wanted[0].whereabouts)
            ]:
                about = (place.latitude, place.longitude, place.region_code, place.recorded_at)
                rows.writerow([path, *("" if value is None else value for value in about)])

    def _label(self, row: Row) -> Label:
        label = row.label or row.code or row.name or "unknown"
        code, name = self._names.get(label, (row.code, row.name))
        return Label(row.start_ms, row.end_ms, label, code, name, row.score)


def _hopeless(error: RunnerError) -> RunnerError:
    """Return an error of the trial: what fails on silence fails on everything."""
    return RunnerError(
        f"HawkEars' command fails, even on silence: {error.message}",
        hint=error.hint,
        retry=False,
        returncode=error.returncode,
        output=error.output,
    )
