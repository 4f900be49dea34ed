"""What HawkEars' environment can do: asked by ``badc doctor``, answered there."""

from __future__ import annotations

import json
import os

__all__ = ["main"]


def main() -> None:
    """Print which badc-core and torch these are, and which GPUs torch sees, as JSON on the last line of stdout."""
    os.environ.setdefault("BRITEKIT_INFERENCE_ONLY", "1")  # before BriteKit is imported, or it wants lightning
    import torch
    from hawkears.core.config_loader import get_config  # noqa: F401 - can it be imported?

    from badc_core import __version__

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    metal = not gpus and torch.backends.mps.is_available()
    told = {
        "badc": __version__,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "gpus": ["Apple Metal"] if metal else gpus,
    }
    print(f"\n{json.dumps(told)}")
