"""The runner on real networks: what it hears, in what batches, and what it says when something does not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest

RATE_HZ = 16_000
FRAMES = "\n[frames]\nhop_s = 0.1\n"


@pytest.fixture(scope="module")
def song(make_tones):
    """Ten seconds: a low tone from 3.2 to 4.4 s, a high one from 7 to 9.5 s."""
    return make_tones(10, (3.2, 4.4, 1000), (7, 9.5, 3000))


SONG = [("low", 3000, 4000), ("low", 4000, 5000)] + [("high", ms, ms + 1000) for ms in (7000, 8000, 9000)]


@pytest.mark.parametrize("model", ["tones.pt2", "tones.ts", "fixed1.pt2", "fixed4.pt2", "most3.pt2", "onebyone.ts"])
def test_a_network_hears_tones_however_it_was_exported(bench, song, networks, make_tones, model):
    """Dynamic, at most 3, exactly 1 or exactly 4 windows at once; what is heard is the same, and as torch says."""
    faint = 0.08 / 0.3 * make_tones(1, (0, 1, 1000))
    heard = bench.hear(model, song, faint, min_score=0.2)
    assert not heard.error
    assert heard.labels() == SONG
    expected = json.loads((networks / "expected.json").read_text())[0]
    assert heard.answers[1][0]["confidence"] == pytest.approx(expected, abs=2e-5)
    assert heard.batch == {"fixed1.pt2": 1, "fixed4.pt2": 4, "most3.pt2": 3, "onebyone.ts": 1}.get(model, 16)


def test_probabilities_and_a_channel_axis(bench, song, card):
    found = bench.hear(
        "probabilities.pt2", song, card=card('shape = "n,1,samples"', 'output = "probabilities"', without="output")
    )
    assert found.labels() == SONG


def test_one_of_several_outputs(bench, song, card):
    assert bench.hear("several.pt2", song, card=card('output_key = "logits"')).labels() == SONG
    refused = bench.hear("several.pt2", song)
    assert "gives several outputs, 'embeddings', 'logits'" in refused.error
    assert "output_key" in refused.hint
    wrong = bench.hear("several.pt2", song, card=card('output_key = "logit"'))
    assert "output_key is 'logit'" in wrong.hint


def test_softmax_says_one_of_them(bench, make_tones, card):
    both = make_tones(1, (0, 1, 1000), (0, 1, 3000))
    assert len(bench.hear("tones.pt2", both).answers[0]) == 2
    found = bench.hear("tones.pt2", both, card=card('activation = "softmax"', "min_score = 0.0"))
    assert sum(one["confidence"] for one in found.answers[0]) == pytest.approx(1, abs=1e-4)


def test_frames(bench, song, card):
    """Ten scores a window; runs of frames become one detection."""
    wanted = [("low", 3200, 4400), ("high", 7000, 9500)]
    assert bench.hear("frames10.pt2", song, card=card(FRAMES)).labels() == wanted
    eleven = card(FRAMES, 'shape = "n,labels,frames"')
    assert bench.hear("frames11.pt2", song, card=eleven).labels() == wanted
    assert bench.hear("frames10.pt2", song, card=card("hop_s = 0.5", FRAMES)).labels() == wanted


def test_neighbouring_windows_are_joined_where_the_card_says_so(bench, song, card):
    assert bench.hear("tones.pt2", song, card=card("join = true")).labels() == [
        ("low", 3000, 5000),
        ("high", 7000, 10000),
    ]
    found = bench.hear("tones.pt2", song, card=card("join = true", "hop_s = 0.25"))
    assert found.labels() == [("low", 2750, 5000), ("high", 6500, 10000)]


def test_labels_of_noise_are_not_reported(bench, song, card):
    assert bench.hear("tones.pt2", song, card=card('ignore = ["low"]')).labels() == SONG[2:]


def test_codes_and_names(bench, song, card):
    labels = 'labels = [{ code = "LOW", name = "Low tone" }, { name = "High tone" }]'
    (found,) = bench.hear("tones.pt2", song, card=card(labels, without="labels")).answers
    told = {(one["label"], one["label_code"], one["label_name"]) for one in found}
    assert told == {("LOW", "LOW", "Low tone"), ("High tone", None, "High tone")}


def test_the_least_score_of_the_card_and_of_the_option(bench, song, card):
    assert len(bench.hear("tones.pt2", song).answers[0]) == 5
    assert len(bench.hear("tones.pt2", song, card=card("min_score = 0.99")).answers[0]) == 3
    assert len(bench.hear("tones.pt2", song, card=card("min_score = 0.99"), min_score=0.5).answers[0]) == 5


@pytest.mark.parametrize(
    ("line", "end", "heard"),
    [
        ("", 7.6, [(6000, 7000), (7000, 7600)]),
        ("", 7.4, [(6000, 7000)]),
        ("least_s = 1.0", 7.9, [(6000, 7000)]),
        ("least_s = 0.4", 7.4, [(6000, 7000), (7000, 7400)]),
    ],
)
def test_the_last_window(bench, make_tones, card, line, end, heard):
    """By default it needs half a window of sound; it ends where the recording ends."""
    sound = make_tones(end, (6, 8, 3000))
    assert [place for _, *place in bench.hear("tones.pt2", sound, card=card(line)).labels()] == [*map(list, heard)]


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_the_batch_changes_nothing(bench, song, make_tones, batch):
    short, silent = make_tones(0.3, (0, 0.3, 1000)), make_tones(4)
    one = bench.hear("tones.pt2", song, short, silent, song[20_000:], batch=32)
    other = bench.hear("tones.pt2", song, short, silent, song[20_000:], batch=batch)
    assert [len(found) for found in one.answers] == [5, 0, 0, 3]
    for found, expected in zip(other.answers, one.answers, strict=True):
        for a, b in zip(found, expected, strict=True):
            assert a.pop("confidence") == pytest.approx(b.pop("confidence"), abs=1e-5)
            assert a == b


def test_loudness_can_be_taken_away(bench, make_tones, card):
    faint = 0.01 * make_tones(1, (0, 1, 1000))
    assert bench.hear("tones.pt2", faint).labels() == []
    for line in ('normalise = "peak"', 'normalise = "standard"', "gain = 100.0"):
        assert bench.hear("tones.pt2", faint, card=card(line)).labels() == [("low", 0, 1000)]
    silence = np.zeros(RATE_HZ)
    assert bench.hear("tones.pt2", silence, card=card('normalise = "standard"')).labels() == []


def test_mel_bands_hear_which_is_loudest(bench, make_tones, card):
    """Four bands from 0 to 8 kHz, in decibels; the best comes first."""
    mel = ["[mel]", "bands = 4", "fft_samples = 512", "hop_samples = 256", "top_db = 30.0", 'normalise = "range"']
    labels = 'labels = ["a", "b", "c", "d"]'
    text = card(labels, "min_score = 0.1", *mel, without="labels")
    for hertz, label in ((300, "a"), (1100, "b"), (2600, "c"), (6000, "d")):
        sound = make_tones(1, (0, 1, hertz))
        heard = bench.hear("loudest.pt2", sound, card=text)
        assert not heard.error
        assert heard.labels()[0] == (label, 0, 1000)


# ------------------------------------------------------------------------------------- memory, and what goes wrong


def test_too_little_memory_halves_the_batch_for_good(bench, song):
    heard = bench.hear("wide2.ts", song, batch=16, again=True)
    assert heard.labels() == SONG
    assert heard.batch == 2


def test_too_little_memory_for_one_window(bench, song, make_tones):
    heard = bench.hear("wide0.ts", song)
    assert "Out of memory, even with one item at a time" in heard.error
    assert heard.retry is True
    assert bench.hear("wide0.ts", make_tones(3)).labels() == []


@pytest.mark.parametrize(
    ("model", "lines", "words"),
    [
        ("three.pt2", (), "gives (1, 3) for 1 window(s)"),
        ("tones.pt2", ("window_s = 2.0",), "does not take 1 window(s) as its card says: AssertionError: Guard failed"),
        ("tones.pt2", ('shape = "n,1,samples"',), "does not take 1 window(s)"),
        ("tones.pt2", ('output = "probabilities"',), "gives -6, which is no probability"),
        ("tones.pt2", (FRAMES,), "gives (1, 2) for 1 window(s)"),
        ("frames10.pt2", (), "gives (1, 10, 2) for 1 window(s)"),
        ("frames10.pt2", ("\n[frames]\nhop_s = 0.05",), "gives 10 frames"),
        ("frames10.pt2", (FRAMES, 'shape = "n,labels,frames"'), "gives (1, 10, 2)"),
        ("fixed4.pt2", ("batch = 3",), "does not take 1 window(s)"),
        ("weights.pt", (), "cannot be loaded as TorchScript"),
        ("nothing.pt2", (), "cannot be read: No such file"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_heard(bench, song, card, model, lines, words):
    without = lines[0].split(" ")[0] if lines else ""
    heard = bench.hear(model, song, card=card(*lines, without=without))
    assert words in heard.error
    assert heard.retry is False
    assert heard.hint


@pytest.mark.parametrize("name", ["tones.pt2", "tones.ts"])
def test_a_torn_file(bench, song, networks, tmp_path, name):
    whole = (networks / name).read_bytes()
    torn = tmp_path / name
    torn.write_bytes(whole[: len(whole) // 2])
    heard = bench.hear(torn, song)
    assert f"The model {torn} cannot be loaded" in heard.error
    assert heard.retry is False
    torn.write_bytes(b"")
    assert "cannot be loaded" in bench.hear(torn, song).error


def test_samples_that_are_no_numbers(bench, song):
    broken = song.copy()
    broken[40_000] = np.nan
    heard = bench.hear("tones.pt2", song, broken)
    assert "c1.wav holds samples that are no numbers, at 2.500 s" in heard.error
    assert heard.retry is False


def test_a_network_that_answers_with_no_numbers(bench, song, make_tones, card):
    """Silence divided by its loudness."""
    heard = bench.hear("touchy.ts", song, card=card("min_score = 0.9"))
    assert "answer for c0 holds values that are no numbers" in heard.error
    assert heard.retry is False
    loud = 3 * make_tones(2, (0, 2, 3000))
    assert bench.hear("touchy.ts", loud / 2).labels() == [(x, y, y + 1000) for y in (0, 1000) for x in ("high", "low")]
    assert "The network failed: " in bench.hear("touchy.ts", 4 * loud).error


def test_a_gpu_that_is_not_there(bench, song):
    for asked in ({"device": "cuda"}, {"worker": "gpu"}):
        heard = bench.hear("tones.pt2", song, **asked)
        if not heard.error:
            pytest.skip("there is a GPU here")
        assert "cannot be computed on a GPU: torch" in heard.error
        assert "-o device=cpu" in heard.hint


def test_half_precision_is_for_cuda_only(bench, song):
    assert bench.hear("tones.pt2", song, precision="half") == bench.hear("tones.pt2", song)
