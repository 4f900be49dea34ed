"""The mode ``api``: HawkEars' public function ``analyze`` on batches of recordings, in HawkEars' own interpreter.

It loads its models once for a batch, and holds a recording in memory as a whole.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from badc_core.errors import RunnerError
from badc_core.protocols import WorkerContext
from badc_hawkears.engine.checkpoints import check_folders
from badc_hawkears.engine.config import effective_config, told
from badc_hawkears.engine.model import choose_device
from badc_hawkears.identity import data_root, identity_of
from badc_hawkears.modes.names import class_names
from badc_hawkears.modes.programs import apart, fresh_folder
from badc_hawkears.modes.recordings import Label, RecordingRunner, Tell, Wanted, recording_error, settings_file
from badc_hawkears.options import HawkEarsOptions
from badc_hawkears.whereabouts import whereabouts_of

__all__ = ["open_api"]

_UNREADABLE = "Could not load recording"
"""So HawkEars begins when the recording is to blame, and not itself."""


def open_api(options: HawkEarsOptions, context: WorkerContext) -> RecordingRunner:
    """Return a runner that calls HawkEars' function.

    Raises
    ------
    RunnerError
        HawkEars is not there, its function is another one, or a checkpoint is not as it should be.
    """
    os.environ["BRITEKIT_INFERENCE_ONLY"] = "1"  # or BriteKit wants lightning
    root = data_root(options)
    facts = told(effective_config(options, root))
    analyze = _public_function()
    check_folders(facts.settings, root, options.trust)
    choose_device(context.device.kind, options.mps)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    settings = settings_file(context.scratch / "hawkears.yaml", facts.settings)
    names = class_names(root, facts.settings["hawkears"]["taxonomy_file"])
    function = _Function(analyze, settings, root, context.scratch / "hawkears", names)
    return RecordingRunner(
        lambda: identity_of(options, facts),
        function.hear,
        lambda recording: whereabouts_of(recording, facts.settings["hawkears"]),
    )


def _public_function() -> Callable[..., Any]:
    try:
        from hawkears.commands._analyze import analyze
    except ImportError as error:
        raise RunnerError(
            f"HawkEars' function analyze cannot be imported: {error}.",
            hint="Name the interpreter of the environment that has HawkEars: -o python=PATH",
            retry=False,
        ) from error
    wanted = {"recording_paths", "recording_callback", "occurrence_metadata", "raise_errors", "data_root"}
    missing = wanted - set(inspect.signature(analyze).parameters)
    if missing:
        raise RunnerError(
            f"The function analyze of this HawkEars does not take {', '.join(sorted(missing))}.",
            hint="Install hawkears 2.3, or use its command: -o mode=cli",
            retry=False,
        )
    return analyze  # type: ignore[no-any-return]


class _Function:
    """HawkEars' function with its settings.

    Parameters
    ----------
    analyze
        The function.
    settings
        YAML file of all of them.
    root
        HawkEars' data folder.
    scratch
        What the function writes goes there.
    names
        Code and name of each label, see :func:`~badc_hawkears.modes.names.class_names`.
    """

    def __init__(
        self,
        analyze: Callable[..., Any],
        settings: Path,
        root: Path,
        scratch: Path,
        names: Mapping[str, tuple[str, str]],
    ) -> None:
        self._analyze = analyze
        self._settings = settings
        self._scratch = scratch
        self._root = root
        self._names = names

    def hear(self, wanted: Sequence[Wanted], tell: Tell) -> None:
        """Analyse recordings; one that cannot be read ends the call, and the others go into another."""
        # Where nothing is known of a place, HawkEars must not be asked to filter by it: it would, a little.
        for known in (True, False):
            for group in apart([one for one in wanted if one.whereabouts.known is known], lambda one: [str(one.path)]):
                left = {str(one.path): one for one in group}
                while left:
                    self._call(left, tell)

    def _call(self, left: dict[str, Wanted], tell: Tell) -> None:
        """Analyse recordings, and take out of `left` those that need no further call: one at least."""
        from britekit.core.exceptions import InferenceError

        def done(result: Any) -> None:
            tell(left.pop(str(result.recording_path)), [self._label(found) for found in result.detections])

        places = {path: one.whereabouts.metadata for path, one in left.items() if one.whereabouts.known}
        try:
            self._analyze(
                cfg_path=str(self._settings),
                output_path=str(fresh_folder(self._scratch)),  # else it writes beside the recordings
                rtype="",
                recording_paths=[Path(path) for path in left],
                recording_callback=done,
                occurrence_metadata=places or None,
                num_threads=1,  # more would load the models for each, and mix the order
                quiet=True,
                raise_errors=True,
                data_root=self._root,
            )
        except InferenceError as error:
            if _UNREADABLE not in str(error) or not left:
                raise RunnerError(f"HawkEars failed: {error}") from error
            path, one = next(iter(left.items()))
            del left[path]
            tell(one, recording_error(one.path, str(error)))
            return
        for path in [*left]:
            tell(left.pop(path), RunnerError(f"HawkEars said nothing of {path}."))

    def _label(self, found: Any) -> Label:
        code, name = self._names.get(found.species, (None, None))
        score = min(1.0, round(float(found.score), 5))
        return Label(_ms(found.start_time), _ms(found.end_time), found.species, code, name, score)


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
