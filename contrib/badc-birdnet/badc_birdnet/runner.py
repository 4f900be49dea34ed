"""The runner: chunks in, windows through LiteRT, detections out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from badc_birdnet.options import BirdnetOptions
from badc_birdnet.quiet import without_greeting
from badc_birdnet.weights import INSTALL_LITERT, find_weights, read_labels
from badc_birdnet.windows import SAMPLE_RATE_HZ, SHORTEST_FRAMES, WINDOW_FRAMES, frames_to_ms, scores, window_starts
from badc_core.errors import RunnerError
from badc_core.grids import grid_starts, part_of
from badc_core.model import Detection, Signal
from badc_core.protocols import InputSpec, RunnerInfo, WorkerContext
from badc_core.seams import RUNS_ON_MS

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["BirdnetRunner", "open_runner"]

_DECIMALS = 6  # of a score; float32 has seven digits
_CHUNKS_AT_ONCE = 2  # more is no faster on a CPU, results come later, and workers share a short run less evenly
_MOST_THREADS = 2  # a second thread gives one worker 15 % more; a second worker gives 95 %


def open_runner(options: BirdnetOptions | None, context: WorkerContext) -> BirdnetRunner:
    """Load BirdNET.

    Raises
    ------
    RunnerError
        A part is missing or damaged; the hint is the command that mends it.
    """
    options = options or BirdnetOptions()
    weights = find_weights(options)
    names = read_labels(weights.labels)
    network = Network(weights.model, options.threads or min(_MOST_THREADS, _cores()))
    if network.outputs != len(names):
        raise RunnerError(
            f"BirdNET's model {weights.model} has {network.outputs} outputs, but {weights.labels} names {len(names)}.",
            hint="Give the labels that belong to the model: -o labels=PATH",
            retry=False,
        )
    info = RunnerInfo(
        identity=weights.identity,
        input=InputSpec(
            sample_rate_hz=SAMPLE_RATE_HZ,
            mono=True,
            halo_ms=frames_to_ms(WINDOW_FRAMES) if options.grid == "recording" else 0,
            max_batch=_CHUNKS_AT_ONCE,
        ),
        labels=frozenset(common for _, common in names),
        needs_finish=options.grid == "recording",
    )
    return BirdnetRunner(info, network, names, options)


class Network:
    """The model in LiteRT: windows in, logits out. Belongs to one thread at a time.

    Parameters
    ----------
    path
        The ``.tflite`` file.
    threads
        How many threads one call may use.

    Raises
    ------
    RunnerError
        LiteRT is missing, the file is no model, or not one of 3-s windows at 48 kHz.
    """

    def __init__(self, path: Path, threads: int) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise RunnerError(
                f"BirdNET needs LiteRT: {error}.", hint=f"Install it: {INSTALL_LITERT}", retry=False
            ) from error
        try:
            with without_greeting():
                self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
                self._interpreter.allocate_tensors()
            (takes,) = self._interpreter.get_input_details()
            (gives,) = self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise RunnerError(
                f"LiteRT cannot load BirdNET's model {path}: {str(error).strip()}",
                hint="The file is damaged, or no LiteRT model: fetch or export it anew.",
                retry=False,
            ) from error
        self._input, self._output = takes["index"], gives["index"]
        if len(takes["shape"]) != 2 or takes["shape"][1] != WINDOW_FRAMES or len(gives["shape"]) != 2:
            raise RunnerError(
                f"{path} is no BirdNET model: it takes {list(takes['shape'])} and gives {list(gives['shape'])}.",
                hint=f"A model must take windows of {WINDOW_FRAMES} samples.",
                retry=False,
            )
        self._batch = int(takes["shape"][0])
        self.outputs = int(gives["shape"][1])

    def logits(self, windows: FloatArray) -> FloatArray:
        """Return the outputs, shape ``(n, outputs)``, of `windows`, shape ``(n, WINDOW_FRAMES)``."""
        if len(windows) != self._batch:  # costs 0.2 ms, a window 15 to 30 ms: cheaper than computing padding
            self._interpreter.resize_tensor_input(self._input, windows.shape)
            self._interpreter.allocate_tensors()
            self._batch = len(windows)
        self._interpreter.set_tensor(self._input, windows)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)  # type: ignore[no-any-return]


class BirdnetRunner:
    """BirdNET, loaded.

    Parameters
    ----------
    info
        What it says of itself.
    network
        The loaded model.
    names
        Scientific and common name of every output.
    options
        What the user asked for.
    """

    def __init__(
        self, info: RunnerInfo, network: Network, names: Sequence[tuple[str, str]], options: BirdnetOptions
    ) -> None:
        self.info = info
        self._network: Network | None = network
        self._names = names
        self._options = options
        self._overlap_frames = round(options.overlap_s * SAMPLE_RATE_HZ)

    def predict(self, batch: Sequence[Signal]) -> list[list[Detection]]:
        """Return the detections of each chunk, in order of start, best first where starts are equal.

        Raises
        ------
        RunnerError
            The runner is closed, a signal has no samples, or the model gave something else than numbers.
        """
        found: list[list[Detection]] = [[] for _ in batch]
        places = [(index, start) for index, signal in enumerate(batch) for start in self._starts(signal)]
        for first in range(0, len(places), self._options.windows):
            some = places[first : first + self._options.windows]
            for (index, start), row in zip(some, self._scores(batch, some), strict=True):
                found[index] += self._detections(row, start, batch[index])
        return found

    def close(self) -> None:
        """Give the model back."""
        self._network = None

    def _starts(self, signal: Signal) -> range:
        """Return where in the samples the windows begin that this chunk answers for."""
        frames = _frames(signal)
        if self._options.grid == "chunk":
            return window_starts(frames, self._overlap_frames)
        part = part_of(signal, SAMPLE_RATE_HZ)
        hop = WINDOW_FRAMES - self._overlap_frames
        grid = grid_starts(part.first, part.until, part.total, WINDOW_FRAMES, hop, SHORTEST_FRAMES)
        return range(grid.start - part.zero, grid.stop - part.zero, grid.step)

    def _scores(self, batch: Sequence[Signal], places: Sequence[tuple[int, int]]) -> FloatArray:
        """Return the scores of some windows, shape ``(len(places), labels)``."""
        import numpy as np

        if self._network is None:
            raise RunnerError("BirdNET was asked for an answer after it was closed.", retry=False)
        logits = self._network.logits(_windows(batch, places))
        if not np.isfinite(logits).all():
            who = ", ".join(dict.fromkeys(batch[index].chunk.chunk_id for index, _ in places))
            raise RunnerError(
                f"BirdNET's answer for {who} holds values that are no numbers.",
                hint="The recording may hold such values itself: look at its samples.",
                retry=False,
            )
        return scores(logits, self._options.sensitivity)

    def _detections(self, row: FloatArray, start: int, signal: Signal) -> Iterator[Detection]:
        """Yield what one window's scores say, best first."""
        end = min(start + WINDOW_FRAMES, _frames(signal))
        extra = {}
        if self._options.grid == "chunk":
            start_ms, end_ms = frames_to_ms(start), frames_to_ms(end)
        else:
            offset_ms, zero = signal.chunk.offset_ms or 0, part_of(signal, SAMPLE_RATE_HZ).zero
            start_ms, end_ms = (max(frames_to_ms(zero + frame) - offset_ms, 0) for frame in (start, end))
        if signal.chunk.duration_ms is not None and end_ms > signal.chunk.duration_ms:
            if self._options.grid == "recording":
                extra = {RUNS_ON_MS: end_ms - signal.chunk.duration_ms}
            end_ms = signal.chunk.duration_ms  # resampling may round up by a frame
        heard = (row >= self._options.min_confidence).nonzero()[0]
        for output in sorted(heard.tolist(), key=lambda output: (-row[output], output)):
            scientific, common = self._names[output]
            yield Detection(
                start_ms=start_ms,
                end_ms=end_ms,
                label=common,
                label_code=scientific,  # BirdNET has no short codes; this one is the same in every language
                label_name=common,
                confidence=round(float(row[output]), _DECIMALS),
                extra=extra,
            )


def _windows(batch: Sequence[Signal], places: Sequence[tuple[int, int]]) -> FloatArray:
    """Return windows, shape ``(len(places), WINDOW_FRAMES)``; without copying where they follow each other."""
    import numpy as np

    (index, first), frames = places[0], len(places) * WINDOW_FRAMES
    together: FloatArray = batch[index].samples[first : first + frames]  # type: ignore[index]
    if places[-1] == (index, first + frames - WINDOW_FRAMES) and len(together) == frames:
        return together.reshape(-1, WINDOW_FRAMES)
    windows = np.zeros((len(places), WINDOW_FRAMES), dtype=np.float32)
    for row, (index, start) in zip(windows, places, strict=True):
        piece = batch[index].samples[start : start + WINDOW_FRAMES]  # type: ignore[index]
        row[: len(piece)] = piece
    return windows


def _cores() -> int:
    """Return how many cores this process may use; batch systems hand out fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _frames(signal: Signal) -> int:
    if signal.samples is None:
        raise RunnerError(f"BirdNET was given no samples of {signal.chunk.chunk_id!r}.", retry=False)
    return len(signal.samples)
