"""Asking one network: scores of frames as BriteKit's ``BaseModel.predict`` gives them, but left on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from badc_hawkears.engine.device import Processor

__all__ = ["Listener", "frame_scores"]


def frame_scores(model: Any, specs: torch.Tensor, window: int, processor: Processor) -> torch.Tensor:
    """Return the scores of a network for windows.

    Parameters
    ----------
    model
        One of BriteKit's.
    specs
        Shape ``(n, 1, bands, columns)``, prepared.
    window
        Frames of a window.
    processor
        Where and how precisely to compute.

    Returns
    -------
    torch.Tensor
        Shape ``(n, classes, window)``, float32.
    """
    import torch

    with processor.precision():
        segment, frames = model(specs)
    if frames is None:  # a network without frames: one score for the whole window
        frames = segment[:, :, None].expand(-1, -1, window)
    settings = model.cfg.infer
    if not model.multi_label:
        return torch.softmax(frames.float(), dim=1)
    return torch.sigmoid(frames.float() * settings.scaling_coefficient + settings.scaling_intercept)


class Listener:
    """Listens to what a network makes of windows before it names anything: its embeddings.

    Parameters
    ----------
    model
        One of BriteKit's. Its backbone's features are taken as they pass by, so nothing is computed twice, and are
        averaged as ``BaseModel.get_embeddings`` does.
    """

    def __init__(self, model: Any) -> None:
        self._features: torch.Tensor | None = None
        model.backbone.register_forward_hook(self._passing)

    def _passing(self, module: Any, inputs: Any, features: torch.Tensor) -> None:
        self._features = features

    def take(self) -> torch.Tensor | None:
        """Return the embeddings of the last batch, shape ``(n, size)``, float16; ``None``: there was none since."""
        import torch

        features, self._features = self._features, None
        if features is None:
            return None
        if features.ndim > 2:
            features = features.float().mean(dim=tuple(range(2, features.ndim)))
        return features.to(torch.float16)
