"""HawkEars' own tables, read out of its loaded parts: what is done with each class, wherever it was heard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from badc_core.errors import RunnerError
from badc_hawkears.rules import Alike, ClassRules, Settings

__all__ = ["Soundalikes", "Tables", "read_tables"]

_MANAGER = "hawkears.heuristics.canada.main.CanadaHeuristicsManager"
_HANDLERS = {"LowBandHeuristics", "SoundAlikeHeuristics", "BoostScoreHeuristics", "LowerScoreHeuristics"}


@frozen
class Soundalikes:
    """Which classes are taken for others where they are rare.

    Parameters
    ----------
    others
        By class, in HawkEars' order; all by trained code.
    max_rare
        A class is rare below this occurrence.
    min_common
        Others may stand for it above this one.
    """

    others: Mapping[str, Sequence[str]]
    max_rare: float
    min_common: float


@frozen
class Tables:
    """What HawkEars does with frame scores.

    Parameters
    ----------
    settings
        What holds for all classes.
    classes
        In the order of the networks' outputs; as where nothing is known of place and time.
    soundalikes
        What changes with place and time, beside what does not occur at all.
    """

    settings: Settings
    classes: Sequence[ClassRules]
    soundalikes: Soundalikes


def read_tables(config: Any, class_manager: Any, names: Sequence[str], handlers: Mapping[str, Any]) -> Tables:
    """Read the tables of loaded parts.

    Parameters
    ----------
    config
        HawkEars' configuration.
    class_manager
        Its ``ClassManager``.
    names
        What its ``Predictor`` calls the classes.
    handlers
        Its heuristics, by name of their class; empty when none are configured.

    Raises
    ------
    RunnerError
        It is set up with other heuristics than its own.
    """
    _check(config.hawkears.heuristics_manager, handlers)
    alike = handlers.get("SoundAlikeHeuristics")
    boost, lower = handlers.get("BoostScoreHeuristics"), handlers.get("LowerScoreHeuristics")
    boosted = set() if boost is None else set(boost.class_indexes)
    lowered = {} if lower is None else dict(zip(lower.class_indexes, lower.base_values, strict=True))
    silencers = _silencers(class_manager, alike)
    classes = []
    for index, name in enumerate(names):
        info = class_manager.class_info_by_index(index)
        shown = class_manager.class_info_by_label_field(name)
        classes.append(
            ClassRules(
                info.model_code,
                class_manager.effective_label(name),
                info.code,
                info.name,
                included=bool(info.include and shown is not None and shown.include),
                boosted=index in boosted,
                lowered=lowered.get(index),
                alike=silencers.get(info.model_code, ()),
            )
        )
    return Tables(_settings(config, alike, boost), classes, _soundalikes(class_manager, alike))


def _check(manager: str | None, handlers: Mapping[str, Any]) -> None:
    lower = handlers.get("LowerScoreHeuristics")
    raises = lower is not None and min(lower.base_values, default=1.0) < 1
    if manager not in (None, _MANAGER) or set(handlers) - _HANDLERS or raises:
        raise RunnerError(
            f"HawkEars is set up with heuristics that the mode warm does not know: {manager}.",
            hint="Use HawkEars' own, or another mode: -o mode=api",
            retry=False,
        )


def _settings(config: Any, alike: Any, boost: Any) -> Settings:
    more = {}
    if alike is not None:
        more["alike_score"] = alike.min_score
    if boost is not None:
        more |= {"boost_frames": boost.min_frames, "boost_score": boost.min_score}
        more |= {"boost_above": boost.boost_above, "boost_exponent": boost.exponent}
    return Settings(
        float(config.infer.min_score),
        segment_s=config.infer.segment_len,
        max_label_s=config.hawkears.max_label_length,
        min_label_s=config.hawkears.min_label_length,
        merge_s=config.hawkears.max_label_length_merge_threshold,
        **more,
    )


def _silencers(class_manager: Any, alike: Any) -> dict[str, tuple[Alike, ...]]:
    """Return what speaks against a class, by trained code."""
    if alike is None:
        return {}
    return {
        code: tuple(
            Alike(other, one.frame_distance, one.min_coverage, one.max_independent, one.min_soundalike)
            for other, one in definitions
        )
        for code, definitions in _enabled(class_manager, alike.no_location)
    }


def _soundalikes(class_manager: Any, alike: Any) -> Soundalikes:
    if alike is None:
        return Soundalikes({}, 0.0, 0.0)
    if alike.max_rare > alike.min_common:
        raise RunnerError("HawkEars' heuristics call a class rare and common at once.", retry=False)
    others = {
        code: tuple(other for other, _ in definitions)
        for code, definitions in _enabled(class_manager, alike.with_location)
    }
    return Soundalikes(others, alike.max_rare, alike.min_common)


def _enabled(class_manager: Any, table: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Yield the trained code of each class of a table, and of each of its soundalikes with its definition."""
    for code, definitions in table.items():
        info = class_manager.class_info_by_code(code)
        enabled = [
            (class_manager.class_info_by_code(one.soundalike).model_code, one) for one in definitions if one.enabled
        ]
        if info is not None and info.include and enabled:
            yield info.model_code, enabled
