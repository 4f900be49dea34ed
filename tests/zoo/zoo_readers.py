"""The zoo's readers as a plugin: one spec for each class, named like it."""

from badc_core import ReaderSpec, hookimpl

WRONG = {
    # class: (the test that must fail, a part of its message)
    "Shouts": ("test_suffixes_are_lower_case", "'.WAV'"),
    "CountsInBytes": ("test_info_tells_what_is_there", "24001 frames of 1 channels"),
    "GivesIntegers": ("test_the_whole_is_what_was_written", "int16, not float32"),
    "GivesDoubles": ("test_the_whole_is_what_was_written", "float64, not float32"),
    "MixesDown": ("test_the_whole_is_what_was_written", "2 channels: the shape is (24001, 1)"),
    "ForgetsToSeekBack": ("test_slices_equal_the_whole", "frames from"),
    "RoundsToBlocks": ("test_slices_equal_the_whole", "frames from 7999"),
    "PadsTheEnd": ("test_reading_past_the_end_is_short", "the shape is (1000, 2), not (100, 2)"),
    "FailsBehindTheEnd": ("test_reading_past_the_end_is_short", "position not in range"),
    "KeepsOneFile": ("test_files_do_not_mix", "in turn with another file"),
    "HintsByDict": ("test_hints_are_hints", "returns {}"),
    "ExportsFromTheStart": ("test_export_can_be_read_again", "the exported slice"),
    "ExportsAsAsked": ("test_export_can_be_read_again", "export returns 100, not 10"),
    "ClosesOnce": ("test_close_can_be_called_twice", "second close raises ValueError"),
    "LeavesAnIndex": ("test_the_file_is_left_alone", "changes the file or its folder"),
    "RaisesWhatItGets": ("test_what_is_no_recording_is_refused", "missing file raises FileNotFoundError"),
    "NamesNoFile": ("test_what_is_no_recording_is_refused", "does not name it"),
    "HidesDamage": ("test_a_truncated_file_is_noticed", "nothing in info.damage"),
    "FillsDamage": ("test_a_truncated_file_is_noticed", "what is left of a truncated file"),
}
GOOD = ["Good", "GoodAndStrict"]


@hookimpl
def badc_readers():
    for animal in [*GOOD, *WRONG]:
        yield ReaderSpec(
            animal.lower(),
            f"Reads as {animal}",
            open=f"zoo_reader_animals:{'Good' if animal == 'Shouts' else animal}",
            suffixes=(".WAV",) if animal == "Shouts" else (".wav",),
            export_suffix=".wav",
        )


def contract():
    """Return the contract these animals are held to."""
    from badc_core.testing import ReaderContract

    return ReaderContract
