"""Where the networks compute: samples to the device, scores back, half precision, and how much at once.

Nothing here waits for a GPU but the function that :meth:`Processor.download` returns: what is asked of it is queued, so
that one call's work overlaps with what the processor does meanwhile.

On CUDA, numbers of 32 bits are computed as such: the shorter ones that torch allows itself for convolutions (TF32) move
scores by more than 0.001, as half precision does for many networks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["Processor"]

_WINDOWS = {"cpu": 16, "mps": 32, "cuda": 128}
_BLOCKS = {"cpu": 1, "mps": 4, "cuda": 16}
_CHUNKS = {"cpu": 2, "mps": 4, "cuda": 16}
_CALLS = {"cpu": 1, "mps": 2, "cuda": 4}


class Processor:
    """A device of torch.

    Parameters
    ----------
    name
        ``cpu``, ``cuda`` or ``mps``.
    half
        Whether networks compute with numbers of 16 bits; spectrograms and scores always have 32.
    """

    def __init__(self, name: str, half: bool = False) -> None:
        self.name = name
        self.half = half
        if name == "cuda":
            import torch

            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    @property
    def windows(self) -> int:
        """How many windows are computed at once; on CPUs, fewer and more were measured to be slower."""
        return _WINDOWS[self.name]

    @property
    def blocks(self) -> int:
        """How many blocks are transformed at once."""
        return _BLOCKS[self.name]

    @property
    def chunks(self) -> int:
        """How many chunks are computed together, so that batches of windows are full."""
        return _CHUNKS[self.name]

    @property
    def chunks_per_call(self) -> int:
        """How many chunks to ask for: while results of some are written down, the device computes others."""
        return self.chunks * _CALLS[self.name]

    def upload(self, arrays: Sequence[FloatArray]) -> list[torch.Tensor]:
        """Copy arrays to the device, in one go.

        Samples go as they came from resampling, float32: rounding them to 16 bits would halve 6 MB a minute, and change
        scores.
        """
        import torch

        lengths = [len(array) for array in arrays]
        together = torch.empty(sum(lengths), dtype=torch.float32, pin_memory=self.name == "cuda")
        for place, array in zip(together.split(lengths), arrays, strict=True):
            place.numpy()[:] = array  # shared memory, which may not be written to, is nothing for torch.from_numpy
        return list(together.to(self.name, non_blocking=True).split(lengths))

    def download(self, tensor: torch.Tensor) -> Callable[[], Any]:
        """Begin to copy a tensor to the host; the function returned waits for it, and gives an array."""
        import torch

        if self.name != "cuda":
            return lambda: tensor.cpu().numpy()
        there = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        there.copy_(tensor, non_blocking=True)
        done = torch.cuda.Event()
        done.record()

        def wait() -> Any:
            done.synchronize()
            return there.numpy()

        return wait

    @property
    def gains_by_half(self) -> bool:
        """Whether networks are quicker with numbers of 16 bits."""
        return self.name == "cuda"

    def use_half(self, networks: Iterable[Any]) -> None:
        """Compute with 16 bits from now on; cores that do so want a pixel's channels side by side."""
        import torch

        self.half = True
        for network in networks:
            network.to(memory_format=torch.channels_last)

    @contextlib.contextmanager
    def precision(self) -> Iterator[None]:
        """Let networks compute with 16 bits in the block, if they may. Of the two forms, the one with finer steps."""
        import torch

        if not self.half:
            yield
            return
        with torch.autocast(self.name, dtype=torch.float16):
            yield

    def give_back(self) -> None:
        """Free the memory that torch keeps for later."""
        import torch

        if self.name == "cuda":
            torch.cuda.empty_cache()
        elif self.name == "mps":
            torch.mps.empty_cache()
