"""Sound files for tests: whole ones, then damaged on purpose."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def noise(seconds: float, *, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Return noise that is exact in 16 bits, shape ``(frames, channels)``: every frame can be told from the others."""
    values = np.random.default_rng(seed).integers(-8000, 8000, (round(seconds * rate), channels))
    return (values / 32768).astype(np.float32)


def write(path: Path, samples: np.ndarray, *, rate: int = RATE, subtype: str = "PCM_16", format: str | None = None):
    """Write samples in small blocks: libsndfile's Ogg encoders cannot take large ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = samples.shape[1] if samples.ndim == 2 else 1
    with soundfile.SoundFile(path, "w", rate, channels, subtype=subtype, format=format) as file:
        for start in range(0, len(samples), 4096):
            file.write(samples[start : start + 4096])
    return path


def write_loud(path: Path, seconds: float, loud: tuple[int, ...] = (), *, rate: int = 8000) -> Path:
    """Write a WAV, whatever it is called, that is loud in some of its seconds and next to silent in the others."""
    levels = np.where(np.isin(np.arange(round(seconds * rate)) // rate, loud), 30_000, 10)
    return write(path, levels.astype(np.int16), rate=rate, format="WAV")


def cut_off(path: Path, share: float) -> int:
    """Keep only the first `share` of a file's bytes; return how many they are."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return int(len(data) * share)


def overwrite(path: Path, at: int, data: bytes) -> None:
    """Replace bytes in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def data_at(path: Path) -> int:
    """Return where the samples of a plain WAV begin."""
    return path.read_bytes().index(b"data") + 8


def set_data_size(path: Path, size: int) -> None:
    """Make a WAV header promise another number of bytes."""
    overwrite(path, data_at(path) - 4, struct.pack("<I", size))


def add_piece(path: Path, name: bytes, content: bytes) -> None:
    """Append a piece to a WAV file, and mend the length in its header."""
    data = bytearray(path.read_bytes())
    data += name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    data[4:8] = struct.pack("<I", len(data) - 8)
    path.write_bytes(data)
