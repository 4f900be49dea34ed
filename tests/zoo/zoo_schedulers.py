"""The zoo's schedulers as a plugin: one spec for each class, named like it."""

from badc_core import SchedulerSpec, hookimpl

WRONG = {
    # class: (the test that must fail, a part of its message)
    "DoesShardsTwice": ("test_every_chunk_is_done_once", "done more than once: REC1_0"),
    "ForgetsTheLast": ("test_every_chunk_is_done_once", "24 of 25 chunks were done"),
    "TellsOfRunningOnly": ("test_states_tell_of_every_shard", "the shards [0, 1], not [0, 1, 2, 3]"),
    "SpeaksItsOwnWords": ("test_states_tell_of_every_shard", "PENDING"),
    "CallsItDoneEarly": ("test_done_means_committed", "1 shards of 3 are called done"),
    "SubmitsObjects": ("test_submission_is_json", "is not JSON serializable"),
    "NumbersByText": ("test_submission_is_json", "KeyError"),
    "WaitsForItsWork": ("test_submit_returns_soon", "24 of 24 chunks"),
    "RendersTheTime": ("test_render_is_pure", "other texts the second time"),
    "RendersToDisk": ("test_render_is_pure", "todo.txt"),
    "CannotCancel": ("test_cancel_ends_the_work", "after cancel the shards are"),
    "DoesNotStop": ("test_stop_is_heeded", "after run.stop it goes on"),
    "CallsFailureDone": ("test_a_failing_worker_is_told", "no runner could be opened"),
    "FailsWithoutAWord": ("test_a_failing_worker_is_told", "says nothing of why"),
    "NeedsShards": ("test_no_shards_are_no_work", "IndexError"),
    "ForgetsOnRestart": ("test_a_lost_submission_raises_nothing", "KeyError"),
}
GOOD = ["Good"]


@hookimpl
def badc_schedulers():
    for animal in [*GOOD, *WRONG]:
        yield SchedulerSpec(animal.lower(), f"Works as {animal}", open=f"zoo_scheduler_animals:{animal}")


def contract():
    """Return the contract these animals are held to."""
    from badc_core.testing import SchedulerContract

    return SchedulerContract
