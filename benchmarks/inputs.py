"""What the benchmarks work on; all of it made here."""

from __future__ import annotations

import json
import wave
from pathlib import Path

__all__ = ["detections", "manifest", "recording", "slices"]

_HEADER = "recording_id,chunk_id,source_path,start_ms,end_ms,overlap_ms,sha256,notes,offset_ms\n"


def manifest(path: Path, chunks: int, per_recording: int = 1000, chunk_ms: int = 30_000) -> Path:
    """Write a manifest of virtual chunks over recordings that need not exist."""
    with path.open("w") as file:
        file.write(_HEADER)
        for number in range(chunks):
            recording, start = f"REC{number // per_recording:06d}", number % per_recording * chunk_ms
            end = start + chunk_ms
            file.write(
                f"{recording},{recording}_{start}_{end},/data/{recording}.flac,{start},{end},0,TODO_HASH,,{start}\n"
            )
    return path


def slices(path: Path, source: Path, chunks: int, chunk_ms: int) -> Path:
    """Write a manifest over one real recording."""
    with path.open("w") as file:
        file.write(_HEADER)
        for start in range(0, chunks * chunk_ms, chunk_ms):
            end = start + chunk_ms
            file.write(f"{source.stem},{source.stem}_{start}_{end},{source},{start},{end},0,TODO_HASH,,{start}\n")
    return path


def recording(path: Path, minutes: int, rate_hz: int = 48_000) -> Path:
    """Write a WAV file of quiet noise, 16 bits, mono."""
    import numpy as np

    generator = np.random.default_rng(1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        for _ in range(minutes):
            file.writeframes(generator.normal(0, 300, 60 * rate_hz).astype("<i2").tobytes())
    return path


def detections(folder: Path, files: int, per_file: int) -> Path:
    """Write results as BADC 0.1 wrote them: one JSON file per chunk."""
    for number in range(files):
        recording_id = f"REC{number // 100:04d}"
        start = number % 100 * 60_000
        chunk_id = f"{recording_id}_chunk_{start}_{start + 60_000}"
        found = [
            {
                "timestamp_ms": 3000 * index,
                "end_ms": 3000 * index + 3000,
                "label_code": f"SP{index % 40:02d}",
                "label_name": f"Species {index % 40}",
                "label": f"SP{index % 40:02d}",
                "confidence": 0.25 + (number * 7 + index * 13) % 75 / 100,
            }
            for index in range(per_file)
        ]
        entry = {
            "chunk_id": chunk_id,
            "recording_id": recording_id,
            "source_path": f"/data/{chunk_id}.wav",
            "status": "ok",
            "detections": found,
            "chunk": {"start_ms": start, "end_ms": start + 60_000, "overlap_ms": 0, "sha256": None, "notes": None},
            "runner": "hawkears",
        }
        path = folder / recording_id / f"{chunk_id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(entry))
    return folder
