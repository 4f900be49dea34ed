"""The zoo's runners as a plugin: one spec for each class, named like it."""

import ast
import functools
from pathlib import Path

from badc_core import RunnerSpec, hookimpl

HOME = "zoo_runner_animals"

WRONG = {
    # class: (the test that must fail, a part of its message)
    "SwapsTheOrder": ("test_order_is_kept", "another order"),
    "SortsByLoudness": ("test_order_is_kept", "another order"),
    "DropsSilence": ("test_one_answer_per_chunk", "0 answers for 1 chunks (silence)"),
    "AnswersNone": ("test_answers_are_detections", "silence: an answer is a NoneType"),
    "AnswersDicts": ("test_answers_are_detections", "holds a dict"),
    "AnswersFractions": ("test_answers_are_detections", "not whole milliseconds"),
    "TellsTimesOfTheRecording": ("test_times_lie_within_the_chunk", "at 60000 to 60500 ms of a chunk of 3000 ms"),
    "PadsItsWindows": ("test_times_lie_within_the_chunk", "of a chunk of 2700 ms"),
    "ForgetsTheHalo": ("test_times_lie_within_the_chunk", "of a chunk of 3000 ms"),
    "EndsBeforeItBegins": ("test_detections_end_after_they_begin", "begins at 500 ms and ends at 0 ms"),
    "SureBeyondOne": ("test_confidence_is_between_0_and_1", "confidence of 2.0"),
    "SureInPercent": ("test_confidence_is_between_0_and_1", "confidence of 35"),
    "NotANumber": ("test_confidence_is_between_0_and_1", "confidence of nan"),
    "CentresInPlace": ("test_input_is_left_alone", "changes the samples"),
    "NeedsToWrite": ("test_input_is_left_alone", "read-only"),
    "EatsTheBatch": ("test_input_is_left_alone", "changes the batch"),
    "SharesABuffer": ("test_instances_share_nothing", "beside another instance"),
    "SharesItsModel": ("test_instances_share_nothing", "after another instance was closed"),
    "ClosesOnce": ("test_close_can_be_called_twice", "second close raises RuntimeError: already closed"),
    "OpensOnce": ("test_it_can_be_opened_again", "the device is busy"),
    "NeverOpens": ("test_it_opens", "RuntimeError: no weights"),
    "BreaksForGood": ("test_a_failing_batch_harms_no_other", "the context is broken"),
    "PassesFailureOffAsSilence": ("test_failure_is_raised", "gets the answer [[]]"),
    "DependsOnNeighbours": ("test_answers_do_not_depend_on_the_batch", "what else is in the batch"),
    "DependsOnBatchSize": ("test_answers_do_not_depend_on_the_batch", "what else is in the batch"),
    "FailsOnLargeBatches": ("test_batches_are_answered", "out of memory"),
    "NeedsAChunk": ("test_empty_batch_is_answered", "predict([]) raises ValueError"),
    "Remembers": ("test_answers_are_repeatable", "and later"),
    "FailsOnShortChunks": ("test_short_chunk_is_answered", "50 ms: predict raises ValueError"),
    "FailsOnSilence": ("test_silence_is_answered", "silence: predict raises ZeroDivisionError"),
    "FailsOnClipping": ("test_clipping_is_answered", "not normalised"),
    "FailsOnOddLengths": ("test_ordinary_sound_is_answered", "odd length: predict raises ValueError"),
    "InventsLabels": ("test_labels_are_declared", "'thunder' is not in info.labels"),
    "KeepsArrays": ("test_extra_is_json", "embedding"),
    "NumbersItsKeys": ("test_extra_is_json", "keys that are not texts"),
    "IsAnotherModel": ("test_identity_is_the_one_foretold", "version='2'"),
    "ChangesItsMind": ("test_info_is_complete", "not the same after predict"),
    "ListsLabels": ("test_info_is_complete", "not a frozenset"),
    "Prints": ("test_stdout_is_left_alone", "hearing"),
    "Litters": ("test_nothing_is_left_behind", "debug.txt"),
    "Wanders": ("test_nothing_is_left_behind", "changes the working folder"),
    "IsDeaf": ("test_known_sounds_are_heard", "a gong: heard ['loud'], not ['louder']"),
    # faults beside the runner: the runner is a good one
    "PlainOptions": ("test_options_are_attrs", "not an attrs class"),
    "HelplessOptions": ("test_options_are_attrs", "'threshold' has no help"),
    "UntypableOptions": ("test_options_can_be_given_as_text", "-o mode=best is refused"),
    "identify_by_loading": ("test_identify_loads_no_model", "torch"),
    "check_by_bool": ("test_check_gives_readiness", "returns True"),
    "check_without_a_word": ("test_check_gives_readiness", "says what is missing"),
    "check_nowhere": ("test_import_strings_lead_somewhere", "has no 'check_nowhere'"),
    "NoLine": ("test_spec_reads_well", "one line without a full stop"),
    "No Name": ("test_spec_reads_well", "'No Name'"),
    "NoPickle": ("test_spec_is_plain_data", "not plain data"),
}
ELSEWHERE = {
    "Heavy": ("test_discovery_is_light", "imports torch"),
    "Chatty": ("test_discovery_is_quiet", "Loading the zoo"),
    "OutdatedFailure": ("test_order_is_kept", "was so once"),
}
GOOD = ["Good", "GoodWithHalo", "GoodAtAnyRate", "GoodWithFiles", "GoodWithNothing", "GoodInItsProcess"]


@functools.cache
def classes():
    """Return the names of the runner classes, without importing them."""
    tree = ast.parse(Path(__file__).with_name(f"{HOME}.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def runner_spec(animal):
    known = animal in classes() and not animal.endswith("Options")
    fields = {
        "open": f"{HOME}:{animal if known else 'Good'}",
        "options": f"{HOME}:{animal if animal.endswith('Options') else 'Options'}",
        "identify": f"{HOME}:{animal if animal.startswith('identify') else 'identify'}",
        "check": f"{HOME}:{animal}" if animal.startswith("check") else None,
        "isolation": "process" if animal == "GoodInItsProcess" else "thread",
        "notice": (lambda: "free") if animal == "NoPickle" else "",
    }
    name = animal if " " in animal else animal.lower()
    return RunnerSpec(name, "Hears.\n" if animal == "NoLine" else f"Hears as {animal}", **fields)


@hookimpl
def badc_runners():
    for animal in [*GOOD, *WRONG, "check_not_ready"]:
        yield runner_spec(animal)


def contract():
    """Return the contract these animals are held to."""
    from badc_core.testing import RunnerContract

    return RunnerContract
