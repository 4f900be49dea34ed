"""What options of plugins share: paths that hold everywhere, numbers within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from badc_core.config import absolute, fill, option, within
from badc_core.errors import UsageError


@attrs.frozen
class Options:
    """Some of a plugin's."""

    share: float | None = option(None, help="a share", validator=within(0.0, 1.0))
    part: float = option(0.0, help="a part", validator=within(0.0, 1.0, below=True))
    count: int = option(1, help="a number", validator=within(1))
    file: Path | None = option(None, help="a file", converter=absolute)


@pytest.mark.parametrize("given", [{"share": "0"}, {"share": "1"}, {"part": "0.999"}, {"count": "1000000"}])
def test_bounds_belong_to_what_is_allowed(given: dict[str, Any]) -> None:
    assert fill(Options, given, "lab") == Options(**{key: float(value) for key, value in given.items()})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"share": "1.5"}, "share is 1.5, but must be at least 0 and at most 1"),
        ({"share": "-1"}, "share is -1, but must be at least 0 and at most 1"),
        ({"share": "nan"}, "share is nan"),
        ({"part": "1"}, "part is 1, but must be at least 0 and below 1"),
        ({"count": "0"}, "count is 0, but must be at least 1."),
    ],
)
def test_others_are_refused_in_words(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        fill(Options, given, "lab")
    assert said in caught.value.message


def test_paths_hold_in_every_folder(isolated: Path) -> None:
    assert Options().file is None
    assert Options(file=Path("a/b")).file == isolated / "a/b"
    assert Options(file=Path("~/b")).file == Path.home() / "b"
