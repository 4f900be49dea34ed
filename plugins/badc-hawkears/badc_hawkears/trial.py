"""Trying out an environment: the runner, in its child process as in a run, must hear a bird that is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from badc_core.errors import BadcError, RunnerError
from badc_core.model import Chunk, Device, Recording, Signal
from badc_core.protocols import WorkerContext

__all__ = ["listen", "problem_with"]

_TOLERANCE_MS = 500


def listen(python: Path, example: Mapping[str, Any], scratch: Path, device: Device) -> None:
    """Run the runner on the example.

    Parameters
    ----------
    python
        Interpreter of HawkEars' environment.
    example
        What :func:`badc_hawkears.inside.example` returned.
    scratch
        A folder for the time being.
    device
        Where to compute.

    Raises
    ------
    BadcError
        The bird is not heard where it sings.
    RunnerError
        The runner cannot be opened, or failed.
    """
    import numpy as np

    samples = np.fromfile(example["samples"], np.float32)
    rate = example["sample_rate_hz"]
    recording = Recording("example", Path(example["samples"]), rate, 1, len(samples) * 1000 // rate)
    signal = Signal(Chunk("example", "example", recording.path), recording, samples, rate)
    options = {"root": example["root"], "models": 1, "low_band": False}
    with _opened(python, options, scratch, device) as runner:
        heard = runner.predict([signal])[0].detections
    code, song_ms = example["code"], example["song_ms"]
    if not any(f.label_code == code and abs((f.start_ms or 0) - song_ms) <= _TOLERANCE_MS for f in heard):
        what = ", ".join(f"{found.label} at {found.start_ms} ms" for found in heard) or "nothing"
        raise BadcError(
            f"HawkEars works on {device.label}, but hears {what}, where {code} sings at {song_ms} ms.",
            hint="Please report this.",
        )


def problem_with(python: Path, root: Path, scratch: Path) -> str | None:
    """Return why the weights in a data folder cannot be used, or ``None``."""
    try:
        with _opened(python, {"root": str(root)}, scratch, Device()):
            return None
    except RunnerError as error:
        return str(error)


@contextmanager
def _opened(python: Path, options: Mapping[str, Any], scratch: Path, device: Device) -> Iterator[Any]:
    from badc_core.isolation import RemoteRunner

    runner = RemoteRunner(
        "hawkears",
        "badc_hawkears.runner:open_runner",
        "badc_hawkears.options:HawkEarsOptions",
        {**options, "python": str(python)},
        WorkerContext(device, device.label, scratch),
        python,
    )
    try:
        yield runner
    finally:
        runner.close()
