"""HawkEars' own rules against ours, on random frame scores: run by HawkEars' interpreter.

``python rules.py ROOT SCRATCH SEED TIMES`` prints one JSON object: for each setting how many recordings and labels were
compared, in how many of them places and dates change something, and what differed; which places and dates are asked
for; and which dates are found in names. No network is asked: what HawkEars'
own heuristics, its filter of rare classes and its making of labels do to a frame map of a whole recording is compared
with what becomes of its chunks, by way of JSON, in the finisher.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["BRITEKIT_INFERENCE_ONLY"] = "1"

import attrs
import numpy as np
from hawkears.core.analyzer import Analyzer, Predictor
from hawkears.core.occurrence_manager import OccurrenceManager
from hawkears.core.recording_date import extract_recording_date

from badc_core.errors import RunnerError
from badc_core.finishing import finish as finish_results
from badc_core.finishing import to_result
from badc_core.model import Chunk, ChunkResult, Instant, LocalTime, Recording
from badc_core.results import document
from badc_hawkears.engine.config import effective_config
from badc_hawkears.engine.frames import KEY, Keeping, encode
from badc_hawkears.engine.grid import counted_frames, touched_frames
from badc_hawkears.engine.occurrence import Occurrence
from badc_hawkears.engine.tables import read_tables
from badc_hawkears.finish import finish
from badc_hawkears.options import HawkEarsOptions
from badc_hawkears.whereabouts import date_named

PLACES = [
    None,
    (51.02, -112.92),
    (45.4, -75.7),
    (49.3, -123.1),
    (64.8, -147.7),
    (51.49, -116.77),
    (44.6, -63.6),
    (0.0, 0.0),
]
"""The second and sixth have common soundalikes of a rare class among which sounds must choose; the last is at sea."""

DATES = [None, "2026-01-31", "2026-06-01", "2026-07-15", "2026-10-29"]
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "low": {"args": ["--min_score", "0.3"]},
    "high": {"args": ["--min_score", "0.95"]},
    "segments": {"args": ["--seg", "3"]},
    "odd segments": {"args": ["--seg", "1.1"]},
    "short": {"args": ["--max-label-length", "2.6", "--min-label-length", "0.75"]},
    "pieces": {"args": ["--max-label-length", "3"]},
    "names": {"args": ["--label", "names"]},
    "scientific": {"args": ["--label", "alt_names"]},
    "include": {"include": ["Boreal Owl", "SWTH", "Broad-winged Hawk", "Pine Warbler", "Veery"]},
    "exclude": {"exclude": ["WTSP", "Wilson's Snipe", "Gray-cheeked Thrush"]},
    "scores": {"keep": ("scores",)},
}
RULED = "BWHA HASP VATH WTSP SWTH FROG-PEEP BITH GCTH BOOW WISN PIWA DEJU OCWA RBSA RNSA YBSA NSHR LOSH WEWA RTHU COYE"
"""Classes that HawkEars has rules for, and one without."""


def frame_map(codes: list[str], chance: np.random.Generator) -> np.ndarray:
    """Return scores with some high stretches, in thousandths: exact in JSON, and often exactly on a threshold."""
    length = int(chance.integers(1, 360))
    scores = chance.beta(1, 12, (length, len(codes)))
    ruled = [codes.index(code) for code in RULED.split() if code in codes]
    for column in [*ruled, *chance.integers(0, len(codes), 8)]:
        for _ in range(chance.integers(0, 5)):
            first, count = chance.integers(0, length), chance.integers(1, 70)
            low = chance.choice([0.2, 0.45, 0.65, 0.84])
            stretch = scores[first : first + count, column]
            stretch[:] = np.maximum(stretch, chance.uniform(low, 1.0, len(stretch)))
    return (np.round(scores * 1000) / 1000).astype(np.float32)


def theirs(analyzer: Analyzer, predictor: Predictor, config: Any, scores: np.ndarray, about: dict | None) -> list:
    """Do as ``Analyzer`` does once it has a frame map."""
    analyzer.check_occurrence = about is not None
    analyzer.occur_mgr = None
    if about is not None:
        analyzer.occur_mgr = OccurrenceManager(
            config, analyzer.class_mgr, ["x.wav"], recording_metadata={"x.wav": about}
        )
    manager = analyzer._load_heuristics_manager(predictor.audio)
    manager.handlers = manager.handlers[1:]  # the low band listens, the others do not
    manager.process_recording("x.wav", scores, 0)
    analyzer._update_frame_map(scores, "x.wav")
    rows = predictor.get_dataframe(None, scores, None, "x")
    predictor.last_frame_map = None
    rows = analyzer._filter_output_dataframe(rows)
    rows = analyzer._filter_short_dataframe_labels(analyzer._split_long_dataframe_labels(rows))
    return sorted(rows[["name", "start_time", "end_time", "score"]].itertuples(index=False, name=None))


def chunks(recording: Recording, chance: random.Random) -> Iterator[Chunk]:
    """Cut a recording anywhere, with overlaps."""
    length = recording.duration_ms or 1
    cuts = sorted({0, length, *(chance.randrange(1, length) for _ in range(chance.randrange(6)) if length > 1)})
    for start, end in itertools.pairwise(cuts):
        overlap = min(start, chance.choice([0, 0, 100, 2600]))
        yield Chunk(f"at-{start}", "x", recording.path, start - overlap, end, overlap, start - overlap)


def ours(recording: Recording, scores: np.ndarray, keeping: Keeping, chance: random.Random) -> list:
    """Keep what is needed of each chunk, write and read it, and finish."""
    results = []
    for chunk in chunks(recording, chance):
        first, stop = touched_frames(chunk.start_ms, chunk.end_ms)
        begin = chunk.start_ms + chunk.overlap_ms
        counted = counted_frames(begin, chunk.end_ms)
        kept = encode(scores[first : min(stop, len(scores))], first, counted, keeping)
        result = ChunkResult(chunk, recording, "no_detections", (), "hawkears", extra={KEY: kept}, finisher="x")
        results.append(to_result(json.loads(json.dumps(document(result, "run")))))
    chance.shuffle(results)
    return sorted(
        (found.label, (result.chunk.start_ms + found.start_ms), result.chunk.start_ms + found.end_ms, found.confidence)
        for result in finish_results(results, finish)
        for found in result.detections
    )


def difference(wanted: list, found: list, segment_s: float | None, end_ms: int) -> str | None:
    """Say how labels differ."""
    if len(wanted) != len(found):
        return (
            f"{len(wanted)} labels, not {len(found)}: {sorted({one[0] for one in wanted} ^ {one[0] for one in found})}"
        )
    for (name, start, end, score), mine in zip(wanted, found, strict=True):
        begin = round(1000 * start) if segment_s is None else min(round(1000 * start), end_ms)
        if (name, begin, round(1000 * end)) != mine[:3] or abs(score - mine[3]) > 1.1e-5:
            return f"{(name, start, end, score)}, not {mine}"
    return None


def options_of(root: Path, scratch: Path, setting: dict[str, Any]) -> HawkEarsOptions:
    """Return the runner's options for a setting."""
    args = list(setting.get("args", ()))
    for option in ("include", "exclude"):
        if option in setting:
            (scratch / option).write_text("\n".join(setting[option]) + "\n")
            args += [f"--{option}", str(scratch / option)]
    return HawkEarsOptions(
        root=root, models=1, low_band=False, args=tuple(args), keep=setting.get("keep", ()), config=None
    )


def compare(root: Path, scratch: Path, setting: dict[str, Any], seed: int, times: int) -> dict[str, Any]:
    """Compare one setting on random recordings, places and dates."""
    options = options_of(root, scratch, setting)
    config = effective_config(options, root)
    analyzer = Analyzer(config)
    analyzer.occur_mgr = None
    predictor = Predictor(config.misc.ckpt_folder, cfg=config)
    handlers = {type(one).__name__: one for one in analyzer._load_heuristics_manager(predictor.audio).handlers}
    tables = read_tables(config, analyzer.class_mgr, predictor._get_names(), handlers)
    occurrence = Occurrence(config, analyzer.class_mgr, tables, 0.1 if options.keep else None)
    chance, numbers = random.Random(seed), np.random.default_rng(seed)
    seen: Counter[str] = Counter()
    differences = []
    for _ in range(times):
        place, date = chance.choice(PLACES), chance.choice(DATES)
        at = None if date is None else LocalTime(dt.datetime.fromisoformat(date))
        scores = frame_map(list(predictor.class_codes), numbers)
        path = Path("/recordings/x.wav")
        recording = Recording("x", path, duration_ms=len(scores) * 250, started_at=at)
        about = None
        if place is not None:
            recording = attrs.evolve(recording, latitude=place[0], longitude=place[1])
            about = {"latitude": place[0], "longitude": place[1], "recorded_at": date}
        keeping = occurrence.keeping(recording)
        seen.update(rare=any(one.rare for one in keeping.classes), becomes=any(one.becomes for one in keeping.classes))
        seen.update(chooses=bool(keeping.choices))
        found = ours(recording, scores.copy(), keeping, chance)
        wanted = theirs(analyzer, predictor, config, scores, about)
        seen.update(labels=len(wanted), recordings=1)
        differs = difference(wanted, found, config.infer.segment_len, recording.duration_ms)
        if differs:
            differences.append(f"{place} {date}: {differs}")
    return {**seen, "differences": differences}


def places(root: Path) -> dict[str, Any]:
    """Tell which region and week of the year (0 to 47) HawkEars is asked for, with and without a recording's own."""
    told: dict[str, Any] = {}
    for name, args in {
        "configured": ["--region", "CA-NT", "--date", "20260131"],
        "point": ["--lat", "45.4", "--lon", "-75.7"],
        "named": ["--region", "CA-NT", "--date", "file"],
        "nothing": [],
    }.items():
        config = effective_config(HawkEarsOptions(root=root, models=1, low_band=False, args=tuple(args)), root)
        analyzer = Analyzer(config)
        tables = read_tables(config, analyzer.class_mgr, list(analyzer.class_mgr.code_dict)[:0], {})
        occurrence = Occurrence(config, analyzer.class_mgr, tables, None)
        own = {"latitude": 49.3, "longitude": -123.1}
        evening = Instant(dt.datetime(2026, 6, 8, 3, tzinfo=dt.UTC))  # the 7th in Vancouver
        for which, facts in {
            "bare": {},
            "placed": own,
            "dated": {"started_at": LocalTime(dt.datetime(2026, 6, 8))},
            "both": {**own, "started_at": evening},
        }.items():
            for path in ("x.wav", "site_2026-07-31_0400.wav"):
                where: Any = None
                try:
                    occurrence.keeping(Recording("x", Path(path), **facts))
                    if occurrence._loaded is not None:
                        (where,) = occurrence._loaded.file_info.values()
                except RunnerError as error:
                    where = error.message
                told[f"{name} {which} {path}"] = where
                occurrence._loaded = None
    return told


def dates(seed: int, times: int) -> dict[str, Any]:
    """Compare the dates that we find in names of files with those that HawkEars finds."""
    chance = random.Random(seed)
    pieces = ["2026", "19", "20", "0", "1", "02", "05", "29", "31", "-", "_", "-", "_", "x", ".wav"]
    names = ["".join(chance.choices(pieces, k=chance.randint(1, 9))) for _ in range(times)]
    found = {name: extract_recording_date(name) for name in names}
    ours = {name: date and date.isoformat() for name in names for date in [date_named(name)]}
    return {
        "found": len([*filter(None, found.values())]),
        "differences": [f"{name}: {found[name]} {ours[name]}" for name in found if found[name] != ours[name]],
    }


def main(root: Path, scratch: Path, seed: int, times: int) -> None:
    """Compare all settings."""
    compared = {name: compare(root, scratch, setting, seed, times) for name, setting in SETTINGS.items()}
    print("\n\0" + json.dumps({"compared": compared, "places": places(root), "dates": dates(seed, 20_000)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
