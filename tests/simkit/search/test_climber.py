"""What single tiles ask and become: the best place, the best step along a slope, and the best window."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest

from simkit.search.climb import ClimbConfig
from simkit.search.climber import Climber
from simkit.search.collages import Collage
from simkit.search.contract import Evidence, Task
from simkit.search.patch_moves import Patch
from simkit.search.trails import Asked, Asking, Steps, Trail
from simkit.seeding import stream

TASK = Task((3, 32, 32), 4, (np.arange(40) % 4).astype(np.int32))
CONFIG = ClimbConfig(places=((2, 2, 2), (1, 1, 3)), rungs=((2, 6),), steps=(0.0, 0.2), compared=3)
Margin = Callable[[Patch], float]
"""The margin of class 2 on an image with this tile."""
Answer = TypeVar("Answer")


def asking(task: Task) -> Asking:
    """Draws the same whichever tests came before."""
    return Asking(task, np.arange(40, dtype=np.int32), stream(0, "test"))


def climber(config: ClimbConfig = CONFIG) -> Climber:
    return Climber(config, asking(TASK), grain=2, widest=6)


def answered(steps: Steps[Answer], margin: Margin, asked: list[Asked]) -> Answer:
    """What came of the steps where each image moves the margin by a little of its own."""
    running: Generator[Asked, Evidence, Answer] = steps
    try:
        question = next(running)
        while True:
            asked.append(question)
            collages, images = question
            score = np.full((len(collages), 4), -5.0)
            for row, (collage, image) in enumerate(zip(collages, images, strict=True)):
                score[row, 2] = -5.0 + margin(collage.patches[0]) + 3.0 * np.sin(image)
            hit = score.argmax(axis=1)[:, None] == np.arange(4)
            question = running.send(Evidence(score.astype(np.float32), hit, np.ones_like(hit)))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def trail(top: int = 5, left: int = 6, side: int = 4, value: float = 0.0, colour: float = 0.5) -> Trail:
    return Trail(Collage((Patch(top, left, side, side, np.full((3, side, side), colour, np.float32)),)), 2, value)


def near(top: int, left: int, side: int) -> Margin:
    return lambda tile: 4.0 - abs(tile.top - top) - abs(tile.left - left) - abs(tile.height - side)


@pytest.mark.parametrize(("top", "left", "side"), [(8, 3, 4), (5, 6, 4), (4, 5, 6), (2, 9, 4)])
def test_a_tile_goes_to_the_place_with_the_highest_margin_on_the_same_images(top: int, left: int, side: int) -> None:
    asked: list[Asked] = []
    (best,) = answered(climber().placed([trail()]), near(top, left, side), asked)
    found = best.collage.patches[0]
    assert (found.top, found.left, found.height) == (top, left, side)
    assert best.value == pytest.approx(4.0, abs=3.0)
    assert [len(images) for _, images in asked] == [11 * 2, 11 * 3]


@pytest.mark.parametrize(("side", "by"), [(16, 1), (32, 2), (96, 6)])
def test_moves_are_longer_on_larger_images(side: int, by: int) -> None:
    large = replace(TASK, image_shape=(3, side, side))
    mover = replace(climber(ClimbConfig(places=((1, 2, 1),))), asking=asking(large))
    asked: list[Asked] = []
    answered(mover.placed([trail()]), near(5, 6, 4), asked)
    assert {collage.patches[0].top - 5 for collage in asked[0][0][:9]} == {-min(by, 5), 0, by}


def test_only_the_best_tiles_go_on_and_none_asks_nothing() -> None:
    asked: list[Asked] = []
    trails = [trail(5, 6, value=2.0), trail(1, 1, value=1.0), trail(9, 9, value=0.0)]
    kept = answered(climber().placed(trails), near(5, 6, 4), asked)
    assert [len(images) for _, images in asked] == [2 * 11 * 2, 11 * 3]
    assert [(t.collage.patches[0].top, t.collage.patches[0].left) for t in kept] == [(5, 6)]
    unasked: list[Asked] = []
    assert answered(climber().placed([]), near(5, 6, 4), unasked) == []
    assert unasked == []


def redder(tile: Patch) -> float:
    return float(8.0 * (tile.colours[0].mean() - tile.colours[1:].mean()))


def test_colours_rise_along_the_slope() -> None:
    asked: list[Asked] = []
    (risen,) = answered(climber().risen([trail()], 12), redder, asked)
    colours = risen.collage.patches[0].colours.mean(axis=(1, 2))
    assert colours[0] > 0.6 > 0.5 > max(colours[1:])
    assert [len(images) for _, images in asked] == [2 * 12, 2 * 3]


def test_a_tile_that_no_step_makes_better_stays_what_it_is() -> None:
    def peak(tile: Patch) -> float:
        return float(-200.0 * ((tile.colours - 0.5) ** 2).mean())

    (risen,) = answered(climber().risen([trail()], 6), peak, [])
    assert (risen.collage.patches[0].colours == 0.5).all()
    assert risen.slope is not None


def test_a_single_step_is_taken_unasked() -> None:
    asked: list[Asked] = []
    (risen,) = answered(climber(ClimbConfig(steps=(0.4,))).risen([trail()], 4), redder, asked)
    assert [len(images) for _, images in asked] == [2 * 4]
    assert not (risen.collage.patches[0].colours == 0.5).all()


def test_a_tile_is_cut_to_the_window_with_the_highest_margin() -> None:
    asked: list[Asked] = []
    cut = answered(climber().cut(trail(5, 6, 6), 4), near(7, 6, 4), asked)
    found = cut.collage.patches[0]
    assert (found.top, found.left, found.height, found.width) == (7, 6, 4, 4)
    assert cut.slope is None
    assert [len(images) for _, images in asked] == [9 * 3]
    assert answered(climber().cut(cut, 4), near(7, 6, 4), asked) is cut, "it is small enough"
