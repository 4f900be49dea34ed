"""What BirdNET hears, on real sound."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from badc_birdnet.options import BirdnetOptions
from badc_birdnet.runner import open_runner
from badc_core.errors import RunnerError, UsageError


def said(detections):
    """Return what matters of detections, to be compared."""
    return [(d.start_ms, d.end_ms, d.label, d.confidence) for d in detections]


def test_yellowthroat_scores_like_birdnet_analyzer(birdnet, hear, yellowthroat):
    """BirdNET-Analyzer says 0.985 and 0.995; fed by soxr it is 0.992 and 0.995."""
    (heard,) = birdnet.predict([hear(yellowthroat)])
    assert [(d.start_ms, d.end_ms, d.label) for d in heard] == [
        (0, 3000, "Common Yellowthroat"),
        (3000, 5903, "Common Yellowthroat"),
    ]
    assert [d.confidence for d in heard] == pytest.approx([0.992, 0.995], abs=0.005)
    assert [d.confidence for d in heard] == pytest.approx([0.985, 0.995], abs=0.01)


def test_names_of_a_detection(birdnet, hear, yellowthroat):
    """BirdNET has no short codes: people read the common name, and the scientific one is the code."""
    (heard,) = birdnet.predict([hear(yellowthroat)])
    assert (heard[0].label_code, heard[0].label_name) == ("Geothlypis trichas", "Common Yellowthroat")
    assert json.loads(json.dumps(heard[0].confidence)) == heard[0].confidence  # a Python float
    assert heard[0].label in birdnet.info.labels
    assert len(birdnet.info.labels) == 6522


def test_blackbird_sings_most_of_the_time(birdnet, hear, urban_soundscape):
    """Three consecutive recordings of one AudioMoth, each 10 windows long."""
    for heard in birdnet.predict([hear(path) for path in urban_soundscape]):
        assert len({d.start_ms for d in heard if d.label == "Eurasian Blackbird"}) >= 6
        assert max(d.confidence for d in heard) > 0.95


def test_every_chunk_gets_its_own_answer(birdnet, hear, signal, yellowthroat, urban_soundscape):
    """However chunks are put together, and whatever their lengths, the answers are the same, bit by bit."""
    song, city = hear(yellowthroat).samples, hear(urban_soundscape[0]).samples
    signals = [
        signal(piece, f"chunk {number}")
        for number, piece in enumerate(
            [
                city[:480_000],
                song[:70_000],
                np.zeros(0, np.float32),
                song,
                np.zeros(288_000, np.float32),
                city[480_000:],
            ]
        )
    ]
    together = birdnet.predict(signals)
    alone = [birdnet.predict([one])[0] for one in signals]
    backwards = birdnet.predict(signals[::-1])[::-1]
    assert [said(d) for d in together] == [said(d) for d in alone] == [said(d) for d in backwards]
    assert [bool(d) for d in together] == [True, False, False, True, False, True]


def test_threads_and_windows_change_nothing(context, needs_weights, hear, yellowthroat, birdnet):
    """They stay out of the fingerprint because of this."""
    expected = said(birdnet.predict([hear(yellowthroat)])[0])
    for options in (BirdnetOptions(threads=1, windows=1), BirdnetOptions(threads=2, windows=7)):
        runner = open_runner(options, context)
        assert said(runner.predict([hear(yellowthroat)])[0]) == expected
        runner.close()


def test_options_change_what_they_say(context, needs_weights, hear, yellowthroat):
    """Overlap adds windows, the threshold drops them, sensitivity below 1 makes sure things surer."""
    sound = [hear(yellowthroat)]

    def run(**options):
        runner = open_runner(BirdnetOptions(**options), context)
        (heard,) = runner.predict(sound)
        runner.close()
        return heard

    assert [d.start_ms for d in run(overlap_s=1.5)] == [0, 1500, 3000]
    assert run(min_confidence=0.9999) == []
    assert min(d.confidence for d in run(sensitivity=0.5)) > 0.999
    assert len(run(min_confidence=0.0)) == 2 * 6522


def test_a_short_chunk_is_not_analysed_and_a_short_rest_dropped(birdnet, hear, signal, yellowthroat):
    """Below 1.5 s there is nothing; from 1.5 s on the window is filled up with silence, and the end is the chunk's."""
    song = hear(yellowthroat).samples
    assert birdnet.predict([signal(song[:71_999])]) == [[]]
    assert said(birdnet.predict([signal(song[:72_000])])[0])[0][:3] == (0, 1500, "Common Yellowthroat")
    assert [d.start_ms for d in birdnet.predict([signal(song[: 144_000 + 71_999])])[0]] == [0]


def test_no_time_lies_beyond_the_chunk(birdnet, hear, signal, yellowthroat):
    """Resampling may give a frame more than the chunk's milliseconds."""
    (heard,) = birdnet.predict([signal(hear(yellowthroat).samples, duration_ms=5903)])
    assert max(d.end_ms for d in heard) == 5903


def test_samples_are_left_as_they_are(birdnet, hear, yellowthroat):
    """The array may be shared with others."""
    sound = hear(yellowthroat)
    sound.samples.flags.writeable = False
    before = sound.samples.copy()
    birdnet.predict([sound])
    assert np.array_equal(sound.samples, before)


def test_samples_that_are_no_numbers_are_refused_by_name(birdnet, signal):
    """Silence would be a lie."""
    samples = np.full(144_000, np.nan, dtype=np.float32)
    with pytest.raises(RunnerError, match="chunk nan holds values that are no numbers"):
        birdnet.predict([signal(samples, "chunk nan")])


def test_close_twice_then_predict(context, needs_weights, signal):
    """A second close does nothing, and a closed runner says that it is closed."""
    runner = open_runner(None, context)
    runner.close()
    runner.close()
    with pytest.raises(RunnerError, match="closed"):
        runner.predict([signal(np.zeros(144_000, np.float32))])


def test_it_asks_for_48_khz_mono_in_small_batches(birdnet):
    """The worker reads, resamples and mixes; a large batch would be no faster."""
    wanted = birdnet.info.input
    assert (wanted.kind, wanted.sample_rate_hz, wanted.mono, wanted.halo_ms) == ("samples", 48_000, True, 0)
    assert 1 < wanted.max_batch <= 4


@pytest.mark.parametrize(
    "text", ["min_confidence=1.5", "sensitivity=2", "overlap_s=3", "overlap_s=-1", "windows=0", "threads=-1"]
)
def test_options_out_of_range_are_refused_by_name(text):
    """With what is allowed."""
    from badc_core.config import fill, pairs

    with pytest.raises(UsageError, match=f"{text.partition('=')[0]} is .* but must be at least"):
        fill(BirdnetOptions, pairs([text]), "runner 'birdnet'")


def test_loading_is_silent_but_swallows_nothing(needs_weights):
    """LiteRT greets on stderr; that line is left out, and no other."""
    program = (
        "import os\n"
        "from badc_birdnet.quiet import without_greeting\n"
        "from badc_birdnet.runner import Network\n"
        "from badc_birdnet.options import BirdnetOptions\n"
        "from badc_birdnet.weights import find_weights\n"
        "with without_greeting():\n"
        "    os.write(2, b'before\\n')\n"
        "Network(find_weights(BirdnetOptions()).model, 1)\n"
        "os.write(2, b'after')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "before\nafter")
