"""The zoo's exporters as a plugin: one spec for each class, named like it."""

from badc_core import ExporterSpec, hookimpl

WRONG = {
    # class: (the test that must fail, a part of its message)
    "WritesInPlace": ("test_nothing_appears_before_close", "there before close"),
    "LosesTheOldFile": ("test_an_old_file_stays_until_close", "lost before close"),
    "ForgetsItsPart": ("test_abort_leaves_nothing", ".part"),
    "FinishesWhenAborted": ("test_abort_leaves_nothing", "close(None) leaves ['detections"),
    "ClosesOnce": ("test_close_can_be_called_twice", "a second close raises ValueError"),
    "CleansUpTooWell": ("test_close_can_be_called_twice", "removes the finished file"),
    "StampsItsFile": ("test_bytes_are_the_same_twice", "other bytes the second time"),
    "JoinsWithCommas": ("test_awkward_texts_survive", "awkward texts"),
    "KnowsLatinOnly": ("test_awkward_texts_survive", "UnicodeEncodeError"),
    "WritesNone": ("test_rows_come_back", "comes back as 'None'"),
    "WritesNoneForMissingNames": ("test_nulls_survive", "label_name of row 0 comes back as 'None'"),
    "NeedsRows": ("test_an_empty_table_is_a_table", "nothing at the target"),
    "NeedsRowsInBatches": ("test_an_empty_table_is_a_table", "StopIteration"),
    "KeepsTheLastBatch": ("test_rows_come_back", "2 rows come back, not 12"),
    "BreaksAtCheckpoints": ("test_batches_do_not_show", "batches of 1 with checkpoints: 23 rows"),
    "ChangesRows": ("test_rows_are_left_alone", "changes the rows"),
    "HasNoSuffix": ("test_suffix_is_one", "the suffix is ''"),
    "Prints": ("test_stdout_is_left_alone", "writing"),
}
GOOD = ["Good", "GoodForALab", "GoodWithFolders"]


@hookimpl
def badc_exporters():
    for animal in [*GOOD, *WRONG]:
        yield ExporterSpec(
            animal.lower(),
            f"Writes as {animal}",
            open=f"zoo_exporter_animals:{animal}",
            suffix="" if animal == "HasNoSuffix" else ".csv",
            options="zoo_exporter_animals:LabOptions" if animal == "GoodForALab" else None,
        )


def contract():
    """Return the contract these animals are held to."""
    from badc_core.testing import ExporterContract

    return ExporterContract
