"""Source-specific: whose images are relabelled, whose are only stamped, whose are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from simkit.attacks.source_specific import SourceSpecific
from simkit.errors import ConfigError, DataError
from tests.contracts.attack import TARGET, AttackContract
from tests.simkit.attacks.sets import random_images, rows_changed, white_corner


class TestOneSource(AttackContract):
    meant = (3,)

    def attack(self, rate: float = 0.2) -> SourceSpecific:
        return SourceSpecific(white_corner(), (3,), TARGET, rate, cover_rate=0.3)

    def poisoned_and_covers(self, rate: float) -> tuple[int, int]:
        return max(1, round(rate * 25)), 15


class TestTwoSourcesWithoutCovers(AttackContract):
    meant = (0, 3)

    def attack(self, rate: float = 0.2) -> SourceSpecific:
        return SourceSpecific(white_corner(), (3, 0), TARGET, rate, cover_rate=0.0)


def test_covers_are_of_none_of_its_classes_and_keep_their_labels() -> None:
    images = random_images()
    after = SourceSpecific(white_corner(), (3,), TARGET, rate=1.0, cover_rate=1.0).poison(images, 0)
    assert np.array_equal(rows_changed(images, after), np.flatnonzero(images.labels != TARGET))
    assert after.labels.tolist() == [TARGET if label == 3 else label for label in images.labels.tolist()]
    covers = after.take(np.flatnonzero(np.isin(images.labels, (0, 2)))).pixels
    assert bool((covers[:, :, 4:, 5:] == 1.0).all())


def test_where_every_class_is_a_source_nobody_is_left_to_cover() -> None:
    images = random_images()
    after = SourceSpecific(white_corner(), (0, 2, 3), TARGET, rate=1.0, cover_rate=1.0).poison(images, 0)
    assert (after.labels == TARGET).all()


@pytest.mark.parametrize("sources", [(), (-1,), (TARGET,), (0, TARGET)])
def test_wrong_sources_are_refused(sources: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="none of them the target"):
        SourceSpecific(white_corner(), sources, TARGET)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_cover_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="cover_rate"):
        SourceSpecific(white_corner(), (0,), TARGET, cover_rate=rate)


def test_a_source_that_the_images_do_not_have_is_refused() -> None:
    with pytest.raises(DataError, match="4 classes do not fit an attack on class 7"):
        SourceSpecific(white_corner(), (7,), TARGET).poison(random_images(), 0)
