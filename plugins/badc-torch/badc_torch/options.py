"""What ``-o key=value`` can say to the runner ``torch``.

The paths of `model` and `config` change no result: what lies there is in the digest of the weights.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import attrs

from badc_core.config import absolute, option, within

__all__ = ["INTERPRETER_VARIABLE", "TorchOptions"]

INTERPRETER_VARIABLE = "BADC_TORCH_PYTHON"
"""Environment variable: the default of the option ``python``."""


def _usual_interpreter() -> Path | None:
    named = os.environ.get(INTERPRETER_VARIABLE)
    return Path(named) if named else None


@attrs.frozen
class TorchOptions:
    """Options of the runner.

    Parameters
    ----------
    model
        The exported network: ``.pt2`` of :func:`torch.export.save`, ``.ts`` or ``.pt`` of ``torch.jit.save``.
    config
        The TOML file that describes it; ``None``: of the same name as `model`, else ``model.toml``, beside it.
    min_score
        Drop detections below this score; ``None``: as the TOML file says.
    batch
        How many windows are computed at once; halved when the device's memory does not hold them. 0: 16, on a GPU 128.
    threads
        Threads of one worker on the CPU; 0: as many as torch takes.
    precision
        ``half``: 16-bit arithmetic on CUDA, where networks are quicker so and scores differ a little. Elsewhere, and
        with ``float32``, 32 bits.
    device
        ``auto``: the GPU or CPU that the worker has; ``cpu``, ``cuda`` or ``mps``: this one.
    python
        Interpreter that has torch, badc-core and this plugin; by default what ``BADC_TORCH_PYTHON`` names, else this
        one.
    """

    model: Path = option(help="the exported network, FILE.pt2 or FILE.ts", affects_results=False, converter=absolute)
    config: Path | None = option(
        None, help="TOML file that describes it; else the one beside it", affects_results=False, converter=absolute
    )
    min_score: float | None = option(
        None, help="drop detections below this score, 0 to 1; else as the TOML file says", validator=within(0.0, 1.0)
    )
    batch: int = option(
        0, help="windows computed at once; 0 chooses", affects_results=False, validator=within(0, 65536)
    )
    threads: int = option(0, help="threads per worker; 0 chooses", affects_results=False, validator=within(0, 1024))
    precision: Literal["float32", "half"] = option("float32", help="half: 16-bit arithmetic on CUDA")
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", help="where to compute: auto, cpu, cuda or mps", affects_results=False
    )
    python: Path | None = option(
        attrs.Factory(_usual_interpreter), help="interpreter that has torch", affects_results=False, converter=absolute
    )
