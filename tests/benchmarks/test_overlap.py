"""The overlap of original and reversed masks, of flagged targets only, and its mean by detector and network."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.overlap import by_network, overlaps
from simkit.triggers import Trigger
from studies.ledgers.truth import overlap
from studies.report.gallery.gather import Backdoor, Both, Shown, ShownVictim
from studies.statistics import share


def square(side: int) -> Trigger:
    mask = np.zeros((1, 8, 8), np.float32)
    mask[:, :side, :side] = 1.0
    return Trigger(mask, np.zeros((3, 8, 8), np.float32))


def victim(*flagged: int, both: Both | None) -> ShownVictim:
    iou = None if both is None else overlap(both.original, both.reversed)
    shown = Shown("b3d, scores", "backdoored", flagged, 900, square(4), share(31, 32), iou, both)
    image = np.zeros((3, 8, 8), np.float32)
    return ShownVictim(7, "flat", "badnets", 0.99, (Backdoor("frog", 6, square(2), image, image, (shown,)),))


def test_a_flagged_target_has_a_line() -> None:
    (line,) = overlaps(victim(2, 6, both=Both(square(2), square(4))))
    assert (line["index"], line["original"], line["pixels"], line["iou"]) == (7, 4, 16, 0.25)
    assert (line["success"], line["trials"]) == (31 / 32, 32)


@pytest.mark.parametrize(("flagged", "both"), [((2,), Both(square(2), square(4))), ((), None), ((6,), None)])
def test_a_target_that_was_not_flagged_or_has_no_mask_has_none(flagged: tuple[int, ...], both: Both | None) -> None:
    assert not list(overlaps(victim(*flagged, both=both)))


def test_networks_are_averaged_apart() -> None:
    lines = [
        {"detector": "b3d", "architecture": name, "iou": iou} for name, iou in [("flat", 1), ("a", 0), ("flat", 0)]
    ]
    assert by_network(lines) == {"b3d, a": 0, "b3d, flat": 0.5}
