"""Networks of your own for BADC: exported by torch, described by a small TOML file, and no Python to write.

torch is not part of this package. It comes with the extra ``badc-torch[torch]``, or lives in another environment, whose
interpreter the option ``python`` names; the network runs in a child process.
"""

from __future__ import annotations

from collections.abc import Iterable

from badc_core import RunnerSpec, hookimpl

__version__ = "0.2.0"


@hookimpl
def badc_runners() -> Iterable[RunnerSpec]:
    """Yield the runner ``torch``."""
    yield RunnerSpec(
        "torch",
        "A network of your own: -o model=FILE.pt2 or FILE.ts, with a TOML file beside it",
        open="badc_torch.runner:open_runner",
        options="badc_torch.options:TorchOptions",
        identify="badc_torch.identity:identify",
        check="badc_torch.interpreter:check",
        isolation="process",  # a model file is a program, torch sets global state, and CUDA wants a process for itself
        finish="badc_core.seams:join",  # windows reach past the ends of chunks
    )
