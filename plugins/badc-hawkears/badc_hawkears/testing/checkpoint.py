"""Make a HawkEars data folder with small checkpoints that truly detect; no weights from anywhere, no training.

Run it with the interpreter of HawkEars' environment; half a minute for one member::

    python -m badc_hawkears.testing.checkpoint ROOT --members bknet.1,bknet.1,bknet.1 --low-band 1

A member is one of BriteKit's networks with random weights. What its layers see of some examples sets the statistics of
its batch normalisation, and a ridge least-squares fit of its last layer teaches it one song: the Common Yellowthroat
that HawkEars brings as an example recording. All other classes stay silent. A member for the low band learns made-up
drumming instead, and calls it Ruffed Grouse. HawkEars loads these files as it loads its own.
"""

from __future__ import annotations

import argparse
import csv
import importlib.resources
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["BRITEKIT_INFERENCE_ONLY"] = "1"  # before BriteKit is imported, or it wants lightning

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]
    Flags = np.ndarray[Any, np.dtype[np.bool_]]

__all__ = ["drumming", "make_root", "yellowthroat"]

_PACKAGE = "hawkears.install.canada"
_SONG = "Common Yellowthroat"
_DRUMMER = "Ruffed Grouse"
_GROUSE = (_DRUMMER, "Spruce Grouse")
_SILENT = -7.0  # log-odds of a class that is not there
_PRESENT = 5.0
_BATCH = 32

_MAIN_AUDIO = {
    "spec_duration": 3.0,
    "spec_height": 192,
    "spec_width": 384,
    "min_freq": 200,
    "max_freq": 13_000,
    "win_length": 0.058,
    "sampling_rate": 28_000,
    "freq_scale": "mel",
}
_LOW_AUDIO = {
    "spec_duration": 4.0,
    "spec_height": 64,
    "spec_width": 384,
    "min_freq": 20,
    "max_freq": 120,
    "win_length": 0.15,
    "sampling_rate": 1_280,
    "freq_scale": "log",
}
_MAIN_POWER, _LOW_POWER = 0.7, 1.2


def yellowthroat(sample_rate_hz: int) -> FloatArray:
    """Return the song of HawkEars' own example recording, mono."""
    import librosa
    import numpy as np
    from britekit.core.audio import _decode_audio

    file = importlib.resources.files(_PACKAGE).joinpath("recordings/CommonYellowthroat.mp3")
    with importlib.resources.as_file(file) as path:
        samples, recorded_hz = _decode_audio(str(path))
    song = librosa.resample(samples.mean(axis=0), orig_sr=recorded_hz, target_sr=sample_rate_hz, res_type="soxr_hq")
    return song.astype(np.float32)


def drumming(sample_rate_hz: int) -> FloatArray:
    """Return 4 s of thumps at 45 Hz that follow each other faster and faster."""
    import numpy as np

    time_s = np.arange(4 * sample_rate_hz) / sample_rate_hz
    sound = np.zeros_like(time_s)
    at_s, gap_s = 0.3, 0.45
    while at_s < 3.8:
        sound += np.exp(-(((time_s - at_s) / 0.03) ** 2)) * np.sin(2 * np.pi * 45 * (time_s - at_s))
        at_s, gap_s = at_s + gap_s, max(0.07, gap_s * 0.88)
    return sound.astype(np.float32)


def make_root(
    root: Path,
    kinds: Sequence[str] = ("bknet.1",),
    *,
    low_band: int = 0,
    examples: int = 160,
    hidden: int = 128,
    first_seed: int = 0,
    names: Sequence[str] = (_SONG,),
    fitted: bool = True,
) -> None:
    """Make a data folder.

    Parameters
    ----------
    root
        The folder, made when it is not there.
    kinds
        BriteKit's name of each member's network.
    low_band
        How many members for the low band.
    examples
        Spectrograms that a member is fitted to; half of them with the song.
    hidden
        Channels before the last layer.
    first_seed
        Of the first member's random weights; each further one has the next.
    names
        Classes that all answer to the song.
    fitted
        ``False``: random weights that stay silent but take as long, for measuring speed.
    """
    from hawkears.core.initializer import initialize

    initialize(root, downloader=lambda url, folder: None)
    seen = None
    for number, kind in enumerate(kinds):
        model, config, columns = _new_model(kind, hidden, first_seed + number, low=False)
        if fitted:
            seen = seen or _examples(config, yellowthroat(28_000), examples, 1, _MAIN_POWER)
            _settle(model, seen[0])
            for name in names:
                _fit(model, *seen, columns[0].index(name))
        _save(model, kind, hidden, columns, root / f"data/ckpt/m{number}.ckpt")
    for number in range(low_band):
        model, config, columns = _new_model("bknet.1", 64, first_seed + 100 + number, low=True)
        sounds, present = _examples(config, drumming(1_280), examples, 2 + number, _LOW_POWER)
        _settle(model, sounds)
        _fit(model, sounds, present, columns[0].index(_DRUMMER))
        _save(model, "bknet.1", 64, columns, root / f"data/ckpt-low-band/l{number}.ckpt")


def _new_model(kind: str, hidden: int, seed: int, *, low: bool) -> tuple[Any, Any, list[list[str]]]:
    """Return a silent network of random weights, its configuration, and its classes' names, codes and others."""
    import torch
    from britekit.core import config_loader
    from britekit.models.model_loader import load_new_model

    config_loader._base_config = None  # a new network takes BriteKit's global configuration
    config = config_loader.get_config()
    for key, value in (_LOW_AUDIO if low else _MAIN_AUDIO).items():
        setattr(config.audio, key, value)
    config.train.model_type, config.train.head_type, config.train.hidden_channels = kind, "temporal_sed", hidden
    with importlib.resources.files(_PACKAGE).joinpath("data/classes.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not low or row["Name"] in _GROUSE]
    columns = [[row[key] for row in rows] for key in ("Name", "Code", "AltName", "AltCode")]
    torch.manual_seed(seed)
    model = load_new_model(*columns, 1).cpu().eval()
    with torch.no_grad():
        model.head.frame_head.weight.zero_()
        model.head.frame_head.bias.fill_(_SILENT)
    return model, config, columns


def _examples(config: Any, song: FloatArray, count: int, seed: int, power: float) -> tuple[FloatArray, Flags]:
    """Return spectrograms of shape ``(count, 1, bands, columns)`` and, ``(count, frames)``, where the song sounds."""
    import numpy as np
    from britekit.core.audio import Audio

    rng = np.random.default_rng(seed)
    audio = Audio(device="cpu", cfg=config)
    rate = config.audio.sampling_rate
    length = int(config.audio.spec_duration * rate)
    frames = int(config.train.sed_fps * config.audio.spec_duration)
    middles = (np.arange(frames) + 0.5) * length / frames
    specs, present = [], np.zeros((count, frames), bool)
    for number in range(count):
        sound = rng.normal(0, 10 ** rng.uniform(-3.2, -1.7), length).astype(np.float32)
        if number % 2:
            loudness, at = rng.uniform(0.4, 1.2), int(rng.integers(rate // 2 - len(song), length - rate // 2))
            begin, stop = max(0, at), min(length, at + len(song))
            sound[begin:stop] += loudness * song[begin - at : stop - at]
            present[number] = (middles >= begin) & (middles < stop)
        audio.signal, audio.cached = sound, None
        specs.append(audio.get_spectrograms([0])[0][0] ** power)
    return np.stack(specs)[:, None].astype(np.float32), present


def _settle(model: Any, specs: FloatArray) -> None:
    """Give every batch normalisation the statistics of the examples."""
    import torch

    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.momentum = None  # the mean of all batches
            module.reset_running_stats()
            module.train()
    with torch.no_grad():
        for batch in torch.from_numpy(specs).split(_BATCH):
            model(batch)
    model.eval()


def _fit(model: Any, specs: FloatArray, present: Flags, number: int) -> None:
    """Fit the last layer's row of one class, by ridge least squares on what reaches that layer."""
    import torch

    seen: list[Any] = []
    hook = model.head.frame_head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        for batch in torch.from_numpy(specs).split(_BATCH):
            model(batch)
    hook.remove()
    features = torch.nn.functional.interpolate(torch.cat(seen), size=present.shape[1], mode="linear")
    rows = features.permute(0, 2, 1).reshape(-1, features.shape[1]).double()
    rows = torch.cat([rows, torch.ones(len(rows), 1, dtype=rows.dtype)], 1)
    wanted = torch.where(torch.from_numpy(present).reshape(-1), _PRESENT, _SILENT).double()
    ridge = 1e-5 * len(rows) * torch.eye(rows.shape[1], dtype=rows.dtype)
    weights = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ wanted).float()
    with torch.no_grad():
        model.head.frame_head.weight[number, :, 0] = weights[:-1]
        model.head.frame_head.bias[number] = weights[-1]


def _save(model: Any, kind: str, hidden: int, columns: Sequence[list[str]], path: Path) -> None:
    import torch

    parameters = {
        "model_type": kind,
        "head_type": "temporal_sed",
        "hidden_channels": hidden,
        "num_train_specs": 1,
        "multi_label": True,
        "train_class_names": columns[0],
        "train_class_codes": columns[1],
        "train_class_alt_names": columns[2],
        "train_class_alt_codes": columns[3],
    }
    checkpoint = {"epoch": 0, "hyper_parameters": parameters, "state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make a data folder as the command line says."""
    parser = argparse.ArgumentParser(description="Make a HawkEars data folder with small checkpoints that detect.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--members", default="bknet.1", help="networks, separated by commas")
    parser.add_argument("--low-band", type=int, default=0, help="members for the low band")
    parser.add_argument("--examples", type=int, default=160, help="spectrograms that a member is fitted to")
    parser.add_argument("--hidden", type=int, default=128, help="channels before the last layer")
    parser.add_argument("--seed", type=int, default=0, help="of the first member")
    parser.add_argument("--classes", default=_SONG, help="names that all answer to the song, separated by commas")
    parser.add_argument("--random", action="store_true", help="random weights, for measuring speed")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    make_root(
        given.root,
        given.members.split(","),
        low_band=given.low_band,
        examples=given.examples,
        hidden=given.hidden,
        first_seed=given.seed,
        names=given.classes.split(","),
        fitted=not given.random,
    )
    print(f"{given.root}: {time.monotonic() - began:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
