"""The zoo's runners that meet seams, as a plugin: one spec for each class, named like it."""

from badc_core import RunnerSpec, hookimpl

HOME = "zoo_seam_animals"

WRONG = {
    # class: (the test that must fail, a part of its message)
    "HearsNothing": ("test_the_whole_is_heard", "nothing is heard in any recording"),
    "FailsOnTheWhole": ("test_the_whole_is_heard", "MemoryError: too long"),
    "StartsItsGridAnew": ("test_chunks_give_what_the_whole_gives", "the chunks have not"),
    "HasNoHalo": ("test_chunks_give_what_the_whole_gives", "the chunks have not"),
    "TellsWhatItsHaloHears": ("test_chunks_give_what_the_whole_gives", "the whole has not"),
    "DoesNotRunOn": ("test_chunks_give_what_the_whole_gives", "nearest is"),
    "JoinsNothing": ("test_chunks_give_what_the_whole_gives", "nearest is"),
    "IsSurerInShortChunks": ("test_chunks_give_what_the_whole_gives", "nearest is"),
    "TellsOverlapsTwice": ("test_overlapping_chunks_give_what_the_whole_gives", "the whole has not"),
    "LeavesOverlapsToOthers": ("test_overlapping_chunks_give_what_the_whole_gives", "the chunks have not"),
    "NeedsEveryChunk": ("test_lost_chunks_cost_no_others", "KeyError: 'place'"),
    "Remembers": ("test_finishing_is_pure", "other detections come out"),
    "SpoilsResults": ("test_finishing_is_pure", "changes the results"),
    "FinishesWithTheModel": ("test_finishing_loads_no_model", "finishing imports torch"),
}
GOOD = ["Windows", "Runs", "WholeRecording", "RunsFromFiles"]

FINISHERS = {
    "WholeRecording": "tell_the_loudest",
    "NeedsEveryChunk": "need_every_chunk",
    "Remembers": "remember",
    "SpoilsResults": "spoil",
    "FinishesWithTheModel": "use_the_model",
}
"""Of whom has one of its own; the others join, or have none."""

FINAL = {"StartsItsGridAnew", "HasNoHalo", "TellsOverlapsTwice", "IsSurerInShortChunks"}


@hookimpl
def badc_runners():
    for animal in [*GOOD, *WRONG]:
        own = FINISHERS.get(animal)
        joined = None if animal in FINAL else "badc_core.seams:join"
        finish = f"{HOME}:{own}" if own else joined
        yield RunnerSpec(animal.lower(), f"Hears as {animal}", open=f"{HOME}:{animal}", finish=finish)


def contract():
    """Return the contract these animals are held to."""
    from badc_core.testing import SeamContract

    return SeamContract
