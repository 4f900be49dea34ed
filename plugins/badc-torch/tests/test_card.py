"""The card: six lines are enough, everything else is checked, and what is wrong is said with file and key."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from badc_core.errors import UsageError
from badc_torch.card import Card, Frames, Mel, find_card, read_card
from badc_torch.labels import Label

PAGE = Path(__file__).parents[3] / "docs/reference/torch-model.md"


@pytest.fixture
def read(tmp_path: Path, card):
    """``read("join = true", without="labels")``: the common card with these lines, read."""

    def read(*lines: str, without: str = "") -> Card:
        path = tmp_path / "tones.toml"
        path.write_text(card(*lines, without=without), encoding="utf-8")
        return read_card(path)

    return read


def test_six_lines_are_enough(read):
    made = read()
    assert (made.name, made.version, made.labels) == ("Tones", "1", (Label("low"), Label("high")))
    assert (made.window, made.hop, made.least, made.frame_hop) == (16_000, 16_000, 8_000, None)


def test_lengths_are_rounded_to_samples(read):
    made = read("sample_rate_hz = 22050", "hop_s = 1.48608", "window_s = 2.97215", without="sample_rate_hz|window_s")
    assert (made.window, made.hop) == (65_536, 32_768)


@pytest.mark.parametrize("key", ["name", "version", "sample_rate_hz", "window_s", "labels", "output"])
def test_a_key_that_must_be_there(read, key):
    with pytest.raises(UsageError, match=rf"tones\.toml: the key {key} is missing\.") as caught:
        read(without=key)
    assert f"Write {key} = …" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("hop = 1", "there is no key 'hop'.", "Did you mean 'hop_s'?"),
        ("min-score = 0.1", "there is no key 'min-score'.", "Did you mean 'min_score'?"),
        ("[mels]\nbands = 3", "there is no key 'mels'.", "Did you mean 'mel'?"),
        ("mel = true", "mel must be a table.", "Write [mel]"),
        ("min_score = 1.5", "min_score is 1.5, but must be at least 0 and at most 1.", None),
        ("min_score = nan", "min_score is nan, but must be at least 0", None),
        ('min_score = "0.5"', "min_score is '0.5', but must be a number.", None),
        ("join = 1", "join is 1, but must be true or false.", None),
        ("batch = 2.5", "batch is 2.5, but must be a whole number.", None),
        ("batch = true", "batch is True, but must be a whole number.", None),
        ("output_key = 1.5", "output_key is 1.5, but must be a text or a whole number.", None),
        (
            'shape = "n,2,samples"',
            'shape is \'n,2,samples\', but must be one of "n,samples", "n,1,samples".',
            "Did you",
        ),
        ('activation = "Sigmoid"', "activation is 'Sigmoid', but must be one of", "Did you mean 'sigmoid'?"),
        ("hop_s = 1.5", "hop_s is 1.5, but must be at most window_s (1), or sound would go unheard.", None),
        ("hop_s = 0.001", "hop_s is 0.001, but must be at least 0.01", None),
        ("least_s = 2.0", "least_s is 2, but must be at most window_s (1).", None),
        ("least_s = 0.0", "least_s is 0.0, but must be above 0.", None),
        ('ignore = "low"', "ignore is 'low', but must be a list.", None),
        ('ignore = ["lwo"]', "ignore names 'lwo', which is not among the labels. Did you mean 'low'?", None),
        (
            "[frames]\nhop_s = 0.00033",
            "[frames] hop_s is 5.28 samples, but must be a whole number of them: 5 are",
            None,
        ),
        ("[frames]\nhop_s = 2.0", "[frames] hop_s is 2, but must be at most window_s (1).", None),
        ("hop_s = 0.5\n[frames]\nhop_s = 0.3", "hop_s is 1.667 frames, but where windows overlap it must be", None),
        ("[frames]", "[frames] the key hop_s is missing.", "Write hop_s = …"),
        ("[mel]\nbands = 4\nfft_samples = 512", "[mel] the key hop_samples is missing.", "Write hop_samples = …"),
        ("[mel]\nbands = 4\nfft_samples = 512\nhop_samples = 9\nfmin = 3", "[mel] there is no key 'fmin'.", None),
        ("[mel]\nbands = 4\nfft_samples = 512\nhop_samples = 9\nmax_hz = 9000", "[mel] max_hz is 9000, but", None),
        ("[mel]\nbands = 4\nfft_samples = 512\nhop_samples = 9\nmin_hz = 8000", "[mel] min_hz is 8000, but", None),
        ("[mel]\nbands = 4\nfft_samples = 40000\nhop_samples = 9", "fft_samples is 40000, but a window has only", None),
        (
            "[mel]\nbands = 4\nfft_samples = 64\nhop_samples = 9\nwindow_samples = 65",
            "must be at most fft_samples",
            None,
        ),
        ('shape = "n,1,samples"\n[mel]\nbands = 4\nfft_samples = 64\nhop_samples = 9', "write shape there", None),
        ("labels = 1 2", "is not valid TOML: ", None),
    ],
)
def test_what_is_wrong_is_named(read, line, message, hint):
    with pytest.raises(UsageError) as caught:
        read(line)
    assert caught.value.message.startswith(str(caught.value.message.partition("tones.toml")[0]) + "tones.toml")
    assert message in caught.value.message
    assert (hint or "") in (caught.value.hint or "")


def test_probabilities_need_no_activation(read):
    with pytest.raises(UsageError, match='activation is for output = "logits"'):
        read('output = "probabilities"', 'activation = "softmax"', without="output")


# ------------------------------------------------------------------------------------------------------------ labels


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("l.txt", "\ufefflow \r\nhigh\r\n\r\n", [Label("low"), Label("high")]),
        (
            "l.csv",
            "Name, Code\nLow tone,LOW\nHigh tone,\n",
            [Label("LOW", "LOW", "Low tone"), Label("High tone", None, "High tone")],
        ),
        ("l.csv", "rank,code\n1,LOW\n2,HIGH\n", [Label("LOW", "LOW"), Label("HIGH", "HIGH")]),
    ],
)
def test_labels_in_a_file_beside_the_card(read, tmp_path, name, text, labels):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert list(read(f'labels = "{name}"', without="labels").labels) == labels


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[]", "tones.toml: there are no labels"),
        ('["low", "low"]', "tones.toml: labels[1] is 'low', which comes twice"),
        ('["low", " "]', "tones.toml: labels[1] is"),
        ('["low", 3]', "tones.toml: labels[1] is 3, but must be a text"),
        ('[{ code = "A", nmae = "B" }]', "tones.toml: labels[0] has no key 'nmae'."),
        ("[{ code = 1 }]", "tones.toml: labels[0] code is 1, but must be a text."),
        ("3", "tones.toml: labels is 3, but must be a list, or the name of a file."),
        ('"nowhere.txt"', "nowhere.txt cannot be read: No such file"),
        ('"empty.csv"', "empty.csv: there is neither a column 'code' nor a column 'name'."),
        ('"twice.txt"', "twice.txt, line 3: is 'low', which comes twice"),
    ],
)
def test_labels_that_are_wrong(read, tmp_path, given, message):
    (tmp_path / "empty.csv").write_text("label\nlow\n")
    (tmp_path / "twice.txt").write_text("low\nhigh\nlow\n")
    with pytest.raises(UsageError) as caught:
        read(f"labels = {given}", without="labels")
    assert message in caught.value.message


# ----------------------------------------------------------------------------------------- where it is looked for


def test_the_card_lies_beside_the_model(tmp_path):
    model = tmp_path / "owls.pt2"
    with pytest.raises(UsageError, match=r"describes owls\.pt2: looked for .*owls\.toml and .*model\.toml"):
        find_card(model, None)
    (tmp_path / "model.toml").touch()
    assert find_card(model, None).name == "model.toml"
    (tmp_path / "owls.toml").touch()
    assert find_card(model, None).name == "owls.toml"
    with pytest.raises(UsageError, match=r"looked for .*other\.toml\."):
        find_card(model, tmp_path / "other.toml")


def test_only_what_can_change_a_result_is_in_the_digest(read):
    assert read("# a comment").meaning() == read().meaning() == read("batch = 4").meaning()
    for line in ("hop_s = 0.5", 'ignore = ["low"]', "[frames]\nhop_s = 0.1", "gain = 2.0", "min_score = 0.4"):
        assert read(line).meaning() != read().meaning()


# ------------------------------------------------------------------------------------------------------------- the page


@pytest.mark.parametrize(("cls", "title"), [(Card, "All keys"), (Mel, r"\[mel\]"), (Frames, r"\[frames\]")])
def test_the_reference_lists_every_key_with_its_default(cls, title):
    part = re.search(rf"^## [^\n]*{title}.*?(?=^## |\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert part, f"no part of the page is about {title}"
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", part[0], re.MULTILINE)
    assert {key: default.strip() for key, default in rows} == {
        field.name: _default(field.default) for field in attrs.fields(cls)
    }


def _default(value: object) -> str:
    if value is attrs.NOTHING:
        return "**required**"
    if value is None or value == ():
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
