"""The count of scans whose best rejected trigger came near to being confirmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import near_misses

RESULTS = Path(__file__).resolve().parents[2] / "results"


@pytest.mark.parametrize(
    ("notes", "share"),
    [
        ("class 1: a patch of 16 pixels turned 67 % of 12 unseen images, too few to confirm it", 67),
        (
            "a turned 50 % of 8 unseen images, too few to confirm it; b turned 91 % of 80 unseen images, too few to "
            "confirm it and too many for a clean model",
            91,
        ),
        ("a turned 97 % of 116 unseen images, which does not decide it", 0),
        ("class 3: refinement found nothing better", 0),
        (None, 0),
    ],
)
def test_the_nearest_rejected_trigger_of_some_notes(notes: str | None, share: int) -> None:
    assert near_misses.nearest(notes) == share


def test_few_clean_models_of_calibrate_come_to_the_share_that_was_chosen_on_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    near_misses.main(files=[RESULTS / "families.jsonl"], detector="auto")
    rows = [
        line.split() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("calibrate   clean")
    ]
    assert [row[2:5] for row in rows] == [["labels", "47", "0"], ["scores", "13", "1"]], "1 of those with mosaics"
