"""Loading HawkEars: its own configuration, its own loader, its own class tables; every part checked.

This is the mode ``warm``: it uses seams of HawkEars 2.3.0 and BriteKit 1.8.4 that are not public, so it asks for these
versions, and compares itself with HawkEars' own loop before it answers (see :mod:`badc_hawkears.engine.selfcheck`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from badc_core.errors import RunnerError
from badc_core.protocols import RunnerIdentity
from badc_hawkears.engine.checkpoints import Checkpoints, checkpoint_paths, known_classes
from badc_hawkears.engine.config import effective_config, told
from badc_hawkears.engine.grid import FRAMES_PER_S, Grid, Member, halo_ms, members
from badc_hawkears.engine.occurrence import Occurrence
from badc_hawkears.engine.tables import Tables, read_tables
from badc_hawkears.environment import Told
from badc_hawkears.identity import data_root, identity_of
from badc_hawkears.options import HawkEarsOptions

__all__ = ["Ensemble", "Networks", "choose_device", "load"]

_FLOOR = 0.1
"""With ``keep=scores``."""


@frozen(eq=False)
class Networks:
    """The networks of one band.

    Parameters
    ----------
    models
        BriteKit's modules, in evaluation mode.
    members
        Where each one's windows lie.
    grid
        Their grid.
    audio
        BriteKit's maker of spectrograms.
    power
        Exponent of the normalised spectrograms.
    device
        As torch names it.
    """

    models: Sequence[Any]
    members: Sequence[Member]
    grid: Grid
    audio: Any
    power: float
    device: str

    @property
    def classes(self) -> int:
        """How many classes they know."""
        return len(self.models[0].train_class_names)


@frozen(eq=False)
class Ensemble:
    """HawkEars, loaded.

    Parameters
    ----------
    main
        The networks that hear everything.
    low
        Those for drumming grouse, at a low rate; ``None``: not used.
    low_pairs
        Class of the low band and class of the main band that it may lift.
    tables
        What is done with their scores; the classes in the order of the networks' outputs.
    occurrence
        Knows what else is done, by place and date, and what to keep for it.
    identity
        Which model it is.
    handlers
        HawkEars' own heuristics, by name of their class; their tables are theirs.
    predictor
        HawkEars' own loop, for comparison.
    """

    main: Networks
    low: Networks | None
    low_pairs: Sequence[tuple[int, int]]
    tables: Tables
    occurrence: Occurrence
    identity: RunnerIdentity
    handlers: dict[str, Any]
    predictor: Any

    @property
    def networks(self) -> list[Any]:
        """All networks."""
        return [*self.main.models, *(self.low.models if self.low else ())]

    @property
    def halo_ms(self) -> int:
        """Context that a chunk needs on both sides."""
        alone = all(member.offset == 0 for member in self.main.members)
        return halo_ms((self.main.grid, alone), *([(self.low.grid, True)] if self.low else []))


def load(options: HawkEarsOptions, device_kind: str) -> Ensemble:
    """Load HawkEars as `options` say.

    Parameters
    ----------
    options
        The user's.
    device_kind
        ``cpu`` or ``gpu``: what the worker was given.

    Raises
    ------
    RunnerError
        A part is missing, damaged, of another version, or set up in a way that this mode does not know.
    """
    root = data_root(options)
    config = effective_config(options, root)
    config.infer.num_threads = 1
    facts = told(config)
    identity = identity_of(options, facts)
    checkpoints = Checkpoints(options.trust)
    choose_device(device_kind, options.mps)
    _refuse_openvino(facts)
    paths = checkpoint_paths(Path(config.misc.ckpt_folder))
    ours = paths[: config.infer.max_models]
    checkpoints.check_classes(paths, known_classes(root))
    with checkpoints.handed_out():
        analyzer, predictor, handlers = _load_parts(config)
    for path, model in zip(ours, predictor.models, strict=True):
        checkpoints.check_tensors(path, model)
    if identity_of(options, facts) != identity:
        raise RunnerError(f"HawkEars' weights or tables in {root} changed while they were loaded.")
    main = _networks(predictor, predictor.audio, members(config.infer.max_models))
    low, pairs = _low_band(handlers, checkpoints)
    tables = read_tables(config, analyzer.class_mgr, predictor._get_names(), handlers)
    occurrence = Occurrence(config, analyzer.class_mgr, tables, _floor(options))
    return Ensemble(main, low, pairs, tables, occurrence, identity, handlers, predictor)


def choose_device(kind: str, mps: bool) -> None:
    """Have BriteKit choose the device that the worker was given. On a Mac it would take the GPU, asked or not.

    Raises
    ------
    RunnerError
        The worker was given a GPU, and torch sees none.
    """
    from britekit.core.config_loader import get_config
    from britekit.core.util import get_device

    get_config().misc.force_cpu = kind == "cpu" and not mps
    if kind == "gpu" and get_device() == "cpu":
        raise RunnerError(
            "The worker was given a GPU, but torch in HawkEars' environment sees none.",
            hint="Install a torch that is made for this GPU's driver, or run on the CPU: --max-gpus 0",
            retry=False,
        )


def _refuse_openvino(facts: Told) -> None:
    from britekit.core.util import get_device

    if get_device() == "cpu" and facts.openvino:
        raise RunnerError(
            "OpenVINO is installed beside HawkEars, which then takes other networks than its checkpoints.",
            hint="The mode warm needs an environment without openvino.",
            retry=False,
        )


def _load_parts(config: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Have HawkEars load itself: its table of classes, its networks, its heuristics."""
    from hawkears.core.analyzer import Analyzer, Predictor

    try:
        analyzer = Analyzer(config)
        analyzer.occur_mgr = None  # where and when a recording was made is not asked here
        predictor = Predictor(config.misc.ckpt_folder, cfg=config)
        manager = analyzer._load_heuristics_manager(predictor.audio)
    except RunnerError:
        raise
    except Exception as error:
        raise RunnerError(f"HawkEars cannot load its models: {error}", retry=False) from error
    handlers = {} if manager is None else {type(handler).__name__: handler for handler in manager.handlers}
    return analyzer, predictor, handlers


def _networks(predictor: Any, audio: Any, places: Sequence[Member]) -> Networks:
    config = predictor.cfg
    other = config.audio.decibels or config.audio.freq_scale not in ("mel", "log")
    if other or config.train.sed_fps != FRAMES_PER_S:
        raise RunnerError(
            "HawkEars' networks want other spectrograms than mel or log, or do not answer four times a second.",
            hint="The mode warm does not know such networks.",
            retry=False,
        )
    for model in predictor.models:
        model.cfg.infer.block_size = 0  # batches are ours
        model.cfg.infer.autocast = False  # so is half precision, see badc_hawkears.engine.device
    return Networks(
        predictor.models, places, _grid(config.audio, audio), audio, config.infer.audio_power, predictor.device
    )


def _grid(settings: Any, audio: Any) -> Grid:
    window = settings.spec_duration * FRAMES_PER_S
    columns = settings.spec_width / window
    if window != int(window) or columns != int(columns):
        raise RunnerError(
            f"A network hears {settings.spec_duration} s as {settings.spec_width} columns, which are no whole frames.",
            retry=False,
        )
    return Grid(
        int(settings.sampling_rate),
        int(window),
        int(columns),
        int(settings.chunks_per_spec),
        int(audio.linear_transform.hop_length),
        int(audio.n_fft),
    )


def _low_band(handlers: dict[str, Any], checkpoints: Checkpoints) -> tuple[Networks | None, Sequence[tuple[int, int]]]:
    handler = handlers.get("LowBandHeuristics")
    if handler is None or not handler.enabled:
        return None, ()
    from britekit import Audio

    predictor = handler.predictor
    if handler.cfg.infer.overlap:
        raise RunnerError(
            "HawkEars' configuration lets the windows of the low band overlap, which the mode warm does not know.",
            hint="Set infer.overlap to 0 in low_band.yaml, as HawkEars comes.",
            retry=False,
        )
    paths = checkpoint_paths(Path(handler.cfg.misc.ckpt_folder))
    checkpoints.check_classes(paths, None)
    for path, model in zip(paths, predictor.models, strict=False):
        checkpoints.check_tensors(path, model)
    # HawkEars lends the handler the main band's Audio and changes its settings back and forth; two are simpler.
    audio = Audio(cfg=handler.cfg)
    places = [Member(0, False)] * len(predictor.models)
    return _networks(predictor, audio, places), tuple(handler.class_indexes)


def _floor(options: HawkEarsOptions) -> float | None:
    """Return the score from which on all is kept."""
    if options.floor is None and "scores" in options.keep:
        return _FLOOR
    return options.floor
