"""The network in torch: windows in, scores out. All that knows torch lies in this module and in :mod:`badc_torch.mel`.

Another format joins by another class with the same face, and a line in :data:`badc_torch.identity.SUFFIXES`.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from badc_core.errors import RunnerError
from badc_core.halving import lacks_memory
from badc_core.model import Device
from badc_torch.identity import SUFFIXES, Described
from badc_torch.options import TorchOptions

if TYPE_CHECKING:
    import numpy as np
    import torch

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["Network", "open_network"]

_log = logging.getLogger(__name__)  # structlog need not be in torch's environment

_ON_CPU, _ON_GPU = 16, 128
"""Windows computed at once, where nobody says otherwise; more cost a CPU half of its speed (memory is mapped anew)."""

_SLIGHTLY = 1e-3
"""Probabilities may lie so much outside 0 to 1: half precision rounds. They are moved back."""


def open_network(described: Described, options: TorchOptions, device: Device) -> Network:
    """Load a network, and make sure that it takes what its card says, and answers so.

    Raises
    ------
    RunnerError
        The file is damaged or of another form, the device cannot be used, or the network and its card do not fit.
    """
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    where = _device(options, device)
    if where.type == "cuda":  # 32 bits means 32 bits, as on the CPU
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    load = {"exported": _exported, "scripted": _scripted}[SUFFIXES[described.model.suffix.lower()]]
    module, takes = load(described.model, where)
    network = Network(module, described, where, half=options.precision == "half" and where.type == "cuda")
    network.fit(takes, options.batch or (_ON_CPU if where.type == "cpu" else _ON_GPU))
    return network


class Network:
    """A loaded network. Belongs to one thread at a time.

    Parameters
    ----------
    module
        What torch loaded.
    described
        Its file and card.
    device
        Where it computes.
    half
        Whether it computes with 16 bits.

    Attributes
    ----------
    batch
        How many windows it takes at once, at most.
    """

    def __init__(self, module: Callable[..., Any], described: Described, device: torch.device, *, half: bool) -> None:
        self._module = module
        self._name = described.model.name
        self._card = described.card
        self._device = device
        self._half = half
        self._mel = None
        self._exactly: int | None = None
        self.batch = 1
        if self._card.mel is not None:
            from badc_torch.mel import MelMaker

            self._mel = MelMaker(self._card.mel, self._card.sample_rate_hz, device)

    def fit(self, takes: _Takes, batch: int) -> None:
        """Find out how many windows it takes, by trying; `batch` is how many are wanted.

        Raises
        ------
        RunnerError
            It does not take windows as its card says, or gives something else.
        """
        self._exactly = self._card.batch or takes.exactly
        self.batch = min(batch, takes.most or batch)
        if self._exactly is not None:
            self.batch = min(self._exactly, batch)
            self._try(1)
            return
        self._try(1)
        if self.batch == 1:
            return
        try:
            self._try(2)
        except RunnerError as error:
            if error.retry:  # memory, which computing in batches sees to
                return
            _log.warning("%s takes one window at a time", self._name)
            self._exactly = self.batch = 1

    def _try(self, count: int) -> None:
        import numpy as np

        with np.errstate(all="ignore"):
            try:
                self.scores(np.zeros((count, self._card.window), np.float32))
            except RunnerError:
                raise
            except Exception as error:
                if lacks_memory(error):
                    raise RunnerError(f"Out of memory when {self._name} was tried: {error}") from error
                raise RunnerError(
                    f"The network {self._name} does not take {count} window(s) as its card says: {_brief(error)}",
                    hint=f"It was given {self._given(count)}: check window_s, sample_rate_hz and shape.",
                    retry=False,
                ) from error

    def _given(self, count: int) -> str:
        shape = (self._card.mel or self._card).shape.replace("n", str(count), 1)
        return f"float32 of shape ({shape}), where a window has {self._card.window} samples"

    def scores(self, windows: FloatArray) -> FloatArray:
        """Return the scores of windows of shape ``(n, samples)``.

        Returns
        -------
        numpy.ndarray
            Probabilities, shape ``(n, labels)``, or ``(n, frames, labels)`` for a network with frames.

        Raises
        ------
        RunnerError
            The network's answer has another shape than its card says.
        """
        import numpy as np
        import torch

        count = len(windows)
        if self._exactly is not None and count < self._exactly:
            filled = np.zeros((self._exactly, windows.shape[1]), np.float32)
            filled[:count] = windows
            windows = filled
        with torch.inference_mode():
            given = self._prepared(torch.from_numpy(windows).to(self._device))
            with self._arithmetic():
                answer = self._module(given)
            probabilities = self._probabilities(self._shaped(self._chosen(answer), len(windows)))
            made: FloatArray = probabilities[:count].cpu().numpy()
        return made

    def _prepared(self, samples: torch.Tensor) -> torch.Tensor:
        from badc_torch.mel import normalised

        if self._card.gain != 1:
            samples = samples * self._card.gain
        samples = normalised(samples, self._card.normalise)
        if self._mel is not None:
            return self._mel(samples)
        return samples[:, None] if self._card.shape == "n,1,samples" else samples

    def _arithmetic(self) -> contextlib.AbstractContextManager[Any]:
        import torch

        return torch.autocast("cuda", torch.float16) if self._half else contextlib.nullcontext()

    def _chosen(self, answer: Any) -> torch.Tensor:
        import torch

        key = self._card.output_key
        if isinstance(answer, torch.Tensor) and key is None:
            return answer
        there: Mapping[Any, Any] = {}
        if isinstance(answer, Mapping):
            there = answer
        elif isinstance(answer, Sequence):
            there = dict(enumerate(answer))
            if hasattr(answer, "_asdict"):
                there |= answer._asdict()
        if key is None and len(there) == 1:
            (key,) = there
        found = there.get(key)
        if not isinstance(found, torch.Tensor):
            gives = f"several outputs, {', '.join(map(repr, there))}" if there else f"one {type(answer).__name__}"
            raise self._misfit(f"gives {gives}", f"output_key is {key!r}" if key is not None else "choose: output_key")
        return found

    def _shaped(self, answer: torch.Tensor, count: int) -> torch.Tensor:
        """Return the answer as (windows, labels) or (windows, frames, labels)."""
        labels, frames = len(self._card.labels), self._card.frames
        shape = tuple(answer.shape)
        if frames is None:
            if shape != (count, labels):
                raise self._misfit(f"gives {shape} for {count} window(s)", f"its labels ask for {(count, labels)}")
            return answer
        if answer.dim() == 3 and frames.shape == "n,labels,frames":
            answer = answer.transpose(1, 2)
        if answer.dim() != 3 or (answer.shape[0], answer.shape[2]) != (count, labels):
            wanted = frames.shape.replace("n", str(count), 1).replace("labels", str(labels))
            raise self._misfit(f"gives {shape} for {count} window(s)", f"its labels ask for ({wanted})")
        hop = self._card.frame_hop or 1
        fitting = math.ceil(self._card.window / hop)
        if answer.shape[1] < self._card.window // hop:
            told = f"a window of {self._card.window_s:g} s has {fitting} frames of {frames.hop_s:g} s"
            raise self._misfit(f"gives {answer.shape[1]} frames", told)
        return answer[:, :fitting]

    def _probabilities(self, answer: torch.Tensor) -> torch.Tensor:
        values = answer.float()
        if self._card.output == "logits":
            return values.softmax(-1) if self._card.activation == "softmax" else values.sigmoid()
        for extreme in (values.min().item(), values.max().item()):
            if extreme < -_SLIGHTLY or extreme > 1 + _SLIGHTLY:
                raise self._misfit(f"gives {extreme:g}, which is no probability", 'write output = "logits"')
        return values.clamp(0, 1)

    def _misfit(self, what: str, why: str) -> RunnerError:
        return RunnerError(
            f"The network {self._name} and its card do not fit: it {what}.", hint=f"By the card: {why}.", retry=False
        )

    def give_back(self) -> None:
        """Free memory of the device that torch keeps for later."""
        import torch

        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        elif self._device.type == "mps":
            torch.mps.empty_cache()


@frozen
class _Takes:
    """How many windows a network takes at once, as far as its file tells.

    Parameters
    ----------
    exactly
        This many and no others; ``None``: not told.
    most
        At most so many; ``None``: not told.
    """

    exactly: int | None = None
    most: int | None = None


def _exported(path: Path, device: torch.device) -> tuple[Callable[..., Any], _Takes]:
    import torch
    from torch.export.passes import move_to_device_pass

    with _loading(path, "an archive of torch.export.save"):
        program = move_to_device_pass(torch.export.load(path), device)
        inputs = set(program.graph_signature.user_inputs)
        given = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
        module = program.module()
    if len(given) != 1:
        raise RunnerError(
            f"The network {path.name} takes {len(given)} inputs, but must take one: windows.",
            hint="Wrap it in a module whose forward takes one tensor, and export that.",
            retry=False,
        )
    windows = given[0].meta["val"].shape[0]
    if isinstance(windows, int):
        return module, _Takes(exactly=windows)
    bounds = program.range_constraints.get(windows.node.expr)
    return module, _Takes(most=int(bounds.upper) if bounds is not None and bounds.upper.is_Integer else None)


def _scripted(path: Path, device: torch.device) -> tuple[Callable[..., Any], _Takes]:
    import torch

    with _loading(path, "TorchScript of torch.jit.save"):
        module = torch.jit.load(path, map_location=device)
        module.eval()
    return module, _Takes()


@contextlib.contextmanager
def _loading(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if lacks_memory(error):
            raise RunnerError(f"Out of memory when {path} was loaded: {_brief(error)}") from error
        raise RunnerError(
            f"The model {path} cannot be loaded as {what}: {_brief(error)}",
            hint="It is damaged, holds weights without a network, or was exported by another torch: export it anew.",
            retry=False,
        ) from error


def _device(options: TorchOptions, device: Device) -> torch.device:
    """Return where to compute; a child process sees just the GPU of its worker."""
    import torch

    kind = options.device
    if kind == "auto":
        kind = "cuda" if device.kind == "gpu" else "cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is built without CUDA"
        raise RunnerError(
            f"The network cannot be computed on a GPU: torch {torch.__version__} {built}, and sees none.",
            hint="Install a torch for this GPU's driver, or compute on the CPU: -o device=cpu",
            retry=False,
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise RunnerError(
            "The network cannot be computed with Metal: torch sees no such GPU here.", hint="-o device=cpu", retry=False
        )
    return torch.device(kind)


def _brief(error: BaseException) -> str:
    """Return what is said first and last: TorchScript puts a traceback between."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    said = lines[-1] if "TorchScript interpreter" in lines[0] else lines[0]
    return f"{type(error).__name__}: {said[:300]}"
