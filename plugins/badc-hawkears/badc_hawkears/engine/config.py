"""HawkEars' configuration, as its own command would make it.

Later ones win: HawkEars' defaults, the data folder's ``yaml/default.yaml``, the file of ``-o config``, arguments
(``-o args``), options of the runner. HawkEars' command would then look for a GPU, and without one listen with fewer
members and without its low band. Here that is not done: one run can have workers with a GPU and workers without.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from badc_core.errors import BadcError, RunnerError, UsageError
from badc_hawkears.arguments import given, settings_given
from badc_hawkears.environment import SETUP, WARM, Told, fetching, no_weights
from badc_hawkears.identity import installed_versions
from badc_hawkears.options import PRESETS, HawkEarsOptions
from badc_hawkears.settings import check_settings

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = ["effective_config", "main", "plain", "told"]

os.environ["BRITEKIT_INFERENCE_ONLY"] = "1"  # before BriteKit is imported, or it wants lightning


def effective_config(options: HawkEarsOptions, root: Path) -> Any:
    """Return the configuration that HawkEars is to work with.

    Parameters
    ----------
    options
        The runner's.
    root
        HawkEars' data folder; relative paths in YAML files begin there.

    Returns
    -------
    omegaconf.DictConfig
        Of HawkEars' structured configuration. `infer.max_models` is a number, paths are absolute, and
        `audio.choose_channel` is off.

    Raises
    ------
    RunnerError
        The data folder has no configuration, or not the weights.
    UsageError
        A file or an option says what HawkEars cannot do.
    """
    if options.mode == "warm":
        _check_versions(installed_versions())
    from hawkears.core.config import HawkEarsBaseConfig
    from hawkears.core.config_loader import load_auxiliary_config, resolve_config_paths
    from omegaconf import OmegaConf

    base = load_auxiliary_config("default.yaml", data_root=root)
    if base is None:
        raise RunnerError(
            f"HawkEars' data folder {root} has no yaml/default.yaml.",
            hint=f"Make it anew: {fetching(options)}",
            retry=False,
        )
    config = _merged(OmegaConf.structured(HawkEarsBaseConfig()), base, f"configuration {root / 'yaml/default.yaml'}")
    config.audio.choose_channel = False
    named = options.config or given(options.args).get("config")
    if named is not None:
        config = _merged(config, _loaded(Path(named)), f"configuration {named}")
    if config.audio.choose_channel:
        raise UsageError(
            f"{named} sets audio.choose_channel, with which the first seconds of a recording choose its channel.",
            hint="BADC takes the mean of all channels, whatever the device: leave choose_channel out.",
        )
    for more in (settings_given(options.args), _settings_of(options)):
        config = _merged(config, more, "setting")
    resolve_config_paths(config, data_root=root)
    config.infer.max_models = _members(config, options)
    check_settings(plain(config), root)
    if options.mode == "warm":
        _check_warm(config, options)
    return config


def plain(config: Any) -> dict[str, Any]:
    """Return a configuration as plain data."""
    from omegaconf import OmegaConf

    made: dict[str, Any] = OmegaConf.to_container(config, resolve=True)
    return made


def _settings_of(options: HawkEarsOptions) -> dict[str, dict[str, Any]]:
    """Return what the runner's own options set."""
    infer = {"max_models": options.models, "min_score": options.min_score}
    hawkears = {"low_band_classifier": options.low_band}
    return {
        section: {name: value for name, value in values.items() if value is not None}
        for section, values in (("infer", infer), ("hawkears", hawkears))
    }


def _members(config: Any, options: HawkEarsOptions) -> int:
    """Return how many members take part."""
    folder = Path(config.misc.ckpt_folder)
    there = len([*folder.glob("*.ckpt")]) or len([*folder.glob("*.onnx")])
    if not there:
        raise no_weights(folder, options)
    if options.preset is not None:
        return min(PRESETS[options.preset] or there, there)
    wanted = config.infer.max_models
    if wanted is not None and wanted > there:
        raise UsageError(
            f"HawkEars is to listen with {wanted} members, but {folder} has {there}.",
            hint=f"Ask for {there} or fewer, or for all: -o preset=full",
        )
    return there if wanted is None else int(wanted)


def _check_versions(versions: tuple[str, str]) -> None:
    if versions != WARM:
        raise RunnerError(
            f"This is HawkEars {versions[0]} with BriteKit {versions[1]}; the mode warm knows {' with '.join(WARM)}.",
            hint=f"Make an environment with these: {SETUP}; or use another mode: -o mode=api",
            retry=False,
        )


def _check_warm(config: Any, options: HawkEarsOptions) -> None:
    if not config.audio.use_spec_cache:
        raise UsageError(
            "HawkEars' configuration switches audio.use_spec_cache off, which the mode warm does not know.",
            hint="Set it to true, as HawkEars comes, or use another mode: -o mode=api",
        )
    if options.floor is not None and options.floor > config.infer.min_score:
        raise UsageError(
            f"The floor {options.floor:g} lies above the threshold of detections, {config.infer.min_score:g}.",
            hint="The floor says which scores are kept beside the detections: choose a lower one.",
        )


def _loaded(path: Path) -> DictConfig:
    import yaml
    from omegaconf import DictConfig, OmegaConf

    try:
        loaded = OmegaConf.load(path)
    except OSError as error:
        raise UsageError(f"HawkEars' configuration {path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise UsageError(f"{path} is no YAML: {said}.") from None
    if not isinstance(loaded, DictConfig):
        raise UsageError(f"{path} does not hold sections like infer: and hawkears:.")
    return loaded


def _merged(config: Any, more: Any, what: str) -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.merge(config, more)
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        key = getattr(error, "full_key", None)
        where = f" at {key}" if key else ""
        said = str(error).strip().partition("\n")[0].rstrip(".")
        raise UsageError(f"HawkEars' {what} does not fit{where}: {said}.") from None


def told(config: Any) -> Told:
    """Return what there is to know of a configuration, and of the packages here, to tell which HawkEars it is.

    Raises
    ------
    RunnerError
        A package of HawkEars has no version.
    """
    from hawkears.core.config_loader import load_auxiliary_config

    # HawkEars looks for it beside the table of occurrence
    root = Path(config.hawkears.occurrence_pickle).parent.parent
    low_band = load_auxiliary_config("low_band.yaml", data_root=root)
    return Told(
        versions=installed_versions(),
        settings=plain(config),
        low_band_members=int(low_band.infer.max_models or 0) if low_band else 0,
        openvino=importlib.util.find_spec("openvino") is not None,
    )


def main() -> None:
    """Tell what options come to, as JSON on the last line of stdout; they come as JSON on stdin."""
    from badc_core.serde import structure, unstructure

    try:
        options = structure(json.load(sys.stdin), HawkEarsOptions)
        assert options.root is not None
        answer = unstructure(told(effective_config(options, options.root)))
    except BadcError as error:
        answer = {"error": error.message, "hint": error.hint, "usage": isinstance(error, UsageError)}
    print(f"\n{json.dumps(answer)}")
