"""Chunk status files: whether the chunk files of a recording are complete."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from attrs import define, frozen

from badc_core import clocks
from badc_core.annex import content_missing
from badc_core.atomic import write_text

__all__ = ["STATUS_FILE", "ChunkStatus", "Job", "needs_work", "read_content", "read_status"]

STATUS_FILE = ".chunk_status.json"
"""Lies among a recording's chunk files."""

_UNFINISHED = ("failed", "in_progress")


@frozen
class Job:
    """Cutting one recording into files; also a row of a chunk plan.

    Parameters
    ----------
    recording_id
        Id of the recording.
    audio_path
        The recording.
    manifest_path
        The manifest to write.
    chunk_output_dir
        Where chunk files go.
    chunk_duration, overlap
        Seconds.
    """

    recording_id: str
    audio_path: Path
    manifest_path: Path
    chunk_output_dir: Path
    chunk_duration: float
    overlap: float


@define
class ChunkStatus:
    """The status of one job, written at its begin and end.

    Parameters
    ----------
    job
        What is done.
    started_at
        When it began, ISO 8601 UTC.
    """

    job: Job
    started_at: str = ""
    _began: float = 0.0

    @property
    def path(self) -> Path:
        """The status file."""
        return self.job.chunk_output_dir / STATUS_FILE

    def begin(self) -> None:
        """Note that the job is in progress; killed now, it will be done again."""
        self.started_at = clocks.now()
        self._began = time.monotonic()
        self._write("in_progress")

    def complete(self, rows: int) -> None:
        """Note that it is done, with so many rows in its manifest."""
        self._end("completed", manifest_rows=rows)

    def fail(self, error: str, rows: int = 0) -> None:
        """Note why it is not."""
        self._end("failed", manifest_rows=rows, error=error)

    def _end(self, status: str, **more: Any) -> None:
        took = round(time.monotonic() - self._began, 6)
        self._write(status, completed_at=clocks.now(), duration_s=took, **more)

    def _write(self, status: str, **more: Any) -> None:
        content = {
            "recording_id": self.job.recording_id,
            "audio_path": str(self.job.audio_path),
            "chunk_output_dir": str(self.job.chunk_output_dir),
            "manifest_path": str(self.job.manifest_path),
            "chunk_duration": self.job.chunk_duration,
            "overlap": self.job.overlap,
            "status": status,
            "started_at": self.started_at,
            "updated_at": clocks.now(),
            **more,
        }
        write_text(self.path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_content(folder: Path) -> dict[str, Any]:
    """Return what the status file in `folder` says; empty without a file that can be read."""
    try:
        content = json.loads((folder / STATUS_FILE).read_text("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_status(folder: Path) -> str | None:
    """Return the status of the chunk files in `folder`; ``None`` without a file that tells."""
    status = read_content(folder).get("status")
    return status if isinstance(status, str) else None


def needs_work(job: Job) -> bool:
    """Whether a recording is to be cut: it has no manifest, or its chunk files were not finished.

    A manifest that git-annex keeps on another machine is one, too.
    """
    written = job.manifest_path.exists() or content_missing(job.manifest_path)
    return not written or read_status(job.chunk_output_dir) in _UNFINISHED
