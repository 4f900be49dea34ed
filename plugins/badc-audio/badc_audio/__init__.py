"""Sound files for BADC: WAV, FLAC, Ogg, MP3, AIFF and whatever else libsndfile reads, damaged ones too."""

from __future__ import annotations

from collections.abc import Iterable

from badc_core.hookspecs import hookimpl
from badc_core.specs import ReaderSpec

__version__ = "0.2.0"

SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64"),
    *(".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aif", ".aiff", ".aifc", ".caf", ".au", ".snd"),
)
"""What libsndfile tells apart by content; formats without a header would need more than a suffix."""


@hookimpl
def badc_readers() -> Iterable[ReaderSpec]:
    """Yield the reader."""
    yield ReaderSpec(
        "audio",
        "Sound files through libsndfile: WAV, FLAC, Ogg, MP3, AIFF, …",
        open="badc_audio.reader:open_file",
        suffixes=SUFFIXES,
        export_suffix=".wav",
    )
