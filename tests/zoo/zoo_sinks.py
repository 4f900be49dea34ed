"""The zoo's sinks as a plugin: one spec for each class, named like it."""

from badc_core import SinkSpec, hookimpl

WRONG = {
    # class: (the test that must fail, a part of its message)
    "FlushesNothing": ("test_flushing_makes_events_visible", "0 of 7 events"),
    "DropsEveryTenth": ("test_closing_makes_events_visible", "27 of 30 events"),
    "ClosesWithoutFlush": ("test_closing_makes_events_visible", "20 of 30 events"),
    "BelongsToItsThread": ("test_any_thread_may_call", "only be used in that same thread"),
    "SpeaksAscii": ("test_awkward_ids_survive", "UnicodeEncodeError"),
    "SplitsLines": ("test_awkward_ids_survive", "does not come back as it was"),
    "ChangesEvents": ("test_events_are_left_alone", "changes the event"),
    "ClosesOnce": ("test_close_can_be_called_twice", "second close raises ValueError"),
    "WritesTwice": ("test_close_can_be_called_twice", "writes events twice"),
    "NeedsEvents": ("test_closing_without_events", "AttributeError"),
    "StartsAnew": ("test_an_earlier_run_is_kept", "3 of 6 events"),
    "ReopensForLateEvents": ("test_late_events_corrupt_nothing", "the 3 of before are not there"),
    "IsSlow": ("test_emit_is_quick", "events take 2."),
    "Prints": ("test_stdout_is_left_alone", "chunk_0"),
}
GOOD = ["Good", "GoodButDeafAfterwards"]


@hookimpl
def badc_telemetry_sinks():
    for animal in [*GOOD, *WRONG]:
        yield SinkSpec(animal.lower(), f"Keeps events as {animal}", open=f"zoo_sink_animals:{animal}")


def contract():
    """Return the contract these animals are held to."""
    from badc_core.testing import SinkContract

    return SinkContract
