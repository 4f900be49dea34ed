"""Makes small networks that truly hear tones; run by an interpreter with torch: ``python networks.py FOLDER``.

A network's weights are fixed: two pairs of filters, one at 1 kHz and one at 3 kHz, whose output tells how loud a tone
is in a window. A tone of amplitude 0.1 gets a score of 0.5, silence one near 0.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim

RATE_HZ = 16_000
TONES_HZ = (1000, 3000)
WINDOW = RATE_HZ  # 1 s
_TAPS, _STRIDE = 256, 64


class Tones(nn.Module):
    """Samples of shape (n, samples) to logits of shape (n, 2)."""

    def __init__(self) -> None:
        super().__init__()
        time = torch.arange(_TAPS) / RATE_HZ
        shape = torch.hann_window(_TAPS, periodic=False)
        waves = [wave(2 * math.pi * hz * time) for hz in TONES_HZ for wave in (torch.cos, torch.sin)]
        self.filters = nn.Conv1d(1, len(waves), _TAPS, _STRIDE, bias=False)
        self.filters.weight.data = torch.stack([2 * wave * shape / shape.sum() for wave in waves])[:, None]

    def loudness(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the amplitude of each tone, shape (n, 2, steps)."""
        heard = self.filters(samples[:, None])
        return (heard[:, 0::2] ** 2 + heard[:, 1::2] ** 2).sqrt()

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return 60 * (self.loudness(samples).mean(-1) - 0.1)


class Probabilities(Tones):
    """Gives scores from 0 to 1, and takes (n, 1, samples)."""

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Return scores."""
        return super().forward(samples[:, 0]).sigmoid()


class TenFrames(Tones):
    """Gives ten scores a window: logits of shape (n, 10, 2)."""

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        pieces = samples.reshape(-1, WINDOW // 10)
        return (60 * (self.loudness(pieces).mean(-1) - 0.1)).reshape(samples.shape[0], 10, 2)


class ElevenFrames(TenFrames):
    """As centred spectrograms have it: one frame more than fits, and labels before frames."""

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Return logits of shape (n, 2, 11)."""
        ten = super().forward(samples)
        return torch.cat([ten, ten[:, -1:]], 1).transpose(1, 2)


class Loudest(nn.Module):
    """Mel spectrograms of shape (n, 1, 4, frames) to logits of 4 labels: the mean of each band."""

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return spectrogram.mean((1, 3))


class Three(Tones):
    """Gives three scores."""

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        two = super().forward(samples)
        return torch.cat([two, two[:, :1]], 1)


class Several(Tones):
    """Gives a dict."""

    def forward(self, samples: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return embeddings and logits."""
        return {"embeddings": self.loudness(samples)[:, 0], "logits": super().forward(samples)}


class Wide(Tones):
    """Needs more memory than there is for more than two windows that hold sound."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Return logits, or fail as CUDA does."""
        if samples.shape[0] > self.most and bool(samples.abs().max() > 0):
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        heard = self.filters(samples[:, None])
        return 60 * ((heard[:, 0::2] ** 2 + heard[:, 1::2] ** 2).sqrt().mean(-1) - 0.1)


class Touchy(nn.Module):
    """Divides by the loudness: silence gives no number; and something else goes wrong with sound that is too loud."""

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        if bool(samples.abs().max() > 0.95):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        loud = samples.abs().amax(1, keepdim=True)
        return torch.cat([loud, loud], 1) / loud


class OneByOne(Tones):
    """Its shape was fixed when it was traced."""

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Return logits of shape (1, …), whatever it is given."""
        return super().forward(samples).reshape(1, -1)


def main(folder: Path) -> None:
    """Write all networks, and the logits of one tone, which the tests expect."""
    torch.set_num_threads(1)
    tones, two = Tones().eval(), torch.zeros(2, WINDOW)

    def export(
        name: str, module: nn.Module, given: torch.Tensor, most: int | None = None, *, free: bool = True
    ) -> None:
        shapes = ({0: Dim("n", min=1, max=most) if most else Dim("n")},) if free else None
        torch.export.save(torch.export.export(module.eval(), (given,), dynamic_shapes=shapes), folder / f"{name}.pt2")

    export("tones", tones, two)
    export("fixed1", tones, two[:1], free=False)
    export("fixed4", tones, torch.zeros(4, WINDOW), free=False)
    export("most3", tones, two, 3)
    export("probabilities", Probabilities(), two[:, None])
    export("frames10", TenFrames(), two)
    export("frames11", ElevenFrames(), two)
    export("loudest", Loudest(), torch.zeros(2, 1, 4, 63))
    export("three", Three(), two)
    export("several", Several(), two)
    torch.jit.trace(tones, two).save(folder / "tones.ts")
    torch.jit.trace(OneByOne().eval(), two[:1], check_trace=False).save(folder / "onebyone.ts")
    for most in (0, 2):
        torch.jit.script(Wide(most).eval()).save(folder / f"wide{most}.ts")
    torch.jit.script(Touchy()).save(folder / "touchy.ts")
    torch.save(tones.state_dict(), folder / "weights.pt")
    time = torch.arange(WINDOW) / RATE_HZ
    sound = 0.08 * torch.sin(2 * math.pi * TONES_HZ[0] * time)
    with torch.inference_mode():
        expected = tones(sound[None])[0].sigmoid().tolist()
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
