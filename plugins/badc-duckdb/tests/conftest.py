"""Results to compile, written the way BADC writes them, and as BADC 0.1 did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Write = Callable[..., Path]


def detection(label: str, start_ms: int | None = 0, confidence: float | None = 0.5, **more: Any) -> dict[str, Any]:
    """Return one detection of three seconds."""
    end_ms = None if start_ms is None else start_ms + 3000
    return {
        "timestamp_ms": start_ms,
        "end_ms": end_ms,
        "label_code": None,
        "label_name": None,
        "label": label,
        "confidence": confidence,
        **more,
    }


def document(recording_id: str, start_ms: int, detections: Any = (), **more: Any) -> dict[str, Any]:
    """Return the result of a chunk of 30 s."""
    return {
        "chunk_id": f"{recording_id}_{start_ms}_{start_ms + 30_000}",
        "recording_id": recording_id,
        "source_path": f"/nowhere/audio/{recording_id}.wav",
        "status": "ok" if detections else "no_detections",
        "detections": list(detections),
        "chunk": {
            "start_ms": start_ms,
            "end_ms": start_ms + 30_000,
            "overlap_ms": 0,
            "sha256": None,
            "notes": None,
            "offset_ms": start_ms,
        },
        "runner": "birdnet",
        "model_version": "2.4",
        **more,
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """An empty output folder."""
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


@pytest.fixture
def put(results: Path) -> Write:
    """Write a result in layout ``files``: ``put(recording_id, start_ms, detections, **keys)``."""

    def write(recording_id: str, start_ms: int = 0, detections: Any = (), **more: Any) -> Path:
        entry = document(recording_id, start_ms, detections, **more)
        path = results / recording_id / f"{entry['chunk_id']}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(entry))
        return path

    return write


@pytest.fixture
def heard() -> Callable[..., dict[str, Any]]:
    """Make a detection: ``heard(label, start_ms, confidence, **keys)``."""
    return detection


@pytest.fixture
def entry() -> Callable[..., dict[str, Any]]:
    """Make a result's document without writing it."""
    return document
