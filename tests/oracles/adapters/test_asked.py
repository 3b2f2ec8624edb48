"""What an attack of another library gets, and what is kept of it when the oracle stops answering."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from oracles.adapters.asked import Asked
from oracles.answers import MISSING, Answer, FloatArray, Labels, TopK
from oracles.budget import Budget
from oracles.errors import BudgetExhausted, InvalidImages, ModelError, RateExceeded
from oracles.oracle import Oracle, Tag, Wrapper
from oracles.partial import carrying
from oracles.spec import OracleSpec, build
from tests.oracles.fakes import LinearOracle

SHAPE = (1, 2, 2)


class Bright:
    """Class 1 where the mean pixel is above one half, else class 0; MISSING where a pixel is exactly 0.25."""

    n_classes, image_shape = 3, SHAPE

    def __init__(self, kind: str = "labels") -> None:
        self.kind = kind

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        pixels = images.numpy().reshape(len(images), -1)
        labels = (pixels.mean(axis=1) > 0.5).astype(np.int32)
        labels[(pixels == 0.25).any(axis=1)] = MISSING
        if self.kind == "labels":
            return Labels(labels, 3)
        values = np.where(labels == MISSING, 0.0, 0.7).astype(np.float32)
        return TopK(labels[:, None], values[:, None], 3, 0.3)


def flat(*values: float) -> FloatArray:
    return np.stack([np.full(SHAPE, value, np.float32) for value in values])


def metered(budget: Budget, oracle: Oracle | None = None) -> Oracle:
    return build(OracleSpec(), Bright() if oracle is None else oracle, budget)


def asked(oracle: Oracle | None = None, starts: FloatArray | None = None, **targets: np.ndarray) -> Asked:
    starts = flat(0.4) if starts is None else starts
    return Asked(Bright() if oracle is None else oracle, starts, np.zeros(len(starts), np.int64), **targets)


def test_the_nearest_picture_of_another_class_is_kept() -> None:
    attack = asked()
    attack.scores(flat(0.9, 0.45, 0.6, 0.7))
    attack.scores(flat(0.8))
    found = attack.found()
    np.testing.assert_array_equal(found.images, flat(0.6))
    assert found.distances == pytest.approx(2 * 0.2)  # four pixels
    assert (found.queries, found.clipped, found.stopped) == (5, 0, "ended")


def test_without_success_it_is_the_start_at_no_distance() -> None:
    attack = asked()
    attack.scores(flat(0.1, 0.2))
    np.testing.assert_array_equal(attack.found().images, flat(0.4))
    assert np.isinf(attack.found().distances).all()


def test_a_target_must_be_hit() -> None:
    attack = asked(targets=np.array([2]))
    attack.scores(flat(0.9))
    assert np.isinf(attack.found().distances).all()


def test_every_start_has_its_own_best() -> None:
    attack = asked(starts=flat(0.4, 0.0))
    attack.scores(flat(0.9, 0.55))
    np.testing.assert_array_equal(attack.found().images, flat(0.55, 0.55))


def test_one_start_is_no_success_for_another() -> None:
    attack = Asked(Bright(), flat(0.4, 0.9), np.array([0, 1]))
    attack.scores(flat(0.4, 0.9))
    assert np.isinf(attack.found().distances).all()


def test_pixels_are_clipped_and_such_calls_counted() -> None:
    attack = asked()
    for pixels in (flat(1.00031), flat(-0.2, 0.3), flat(0.3)):
        attack.scores(pixels)
    assert attack.found().clipped == 2
    np.testing.assert_array_equal(attack.found().images, flat(1.0))
    behind_a_meter = asked(metered(Budget(5)))
    with pytest.raises(InvalidImages, match="NaN"):
        behind_a_meter.scores(flat(float("nan")))


def test_labels_and_top_classes_become_rows() -> None:
    np.testing.assert_array_equal(asked().scores(flat(0.9, 0.1)), [[0, 1, 0], [1, 0, 0]])
    rows = asked(Bright("top")).scores(flat(0.9, 0.1))
    np.testing.assert_array_equal(rows, np.array([[0, 0.7, 0], [0.7, 0, 0]], np.float32))


@pytest.mark.parametrize("kind", ["labels", "top"])
def test_a_picture_without_a_class_is_no_success(kind: str) -> None:
    attack = Asked(Bright(kind), flat(0.9, 0.1), np.array([1, 0]))
    np.testing.assert_array_equal(attack.scores(flat(0.25)), [[1, 0, 0]])
    assert np.isinf(attack.found().distances).all()


def test_when_the_budget_ends_the_rest_of_it_is_used_and_the_best_kept() -> None:
    budget = Budget(5)
    attack = asked(metered(budget))

    def steps() -> None:
        attack.scores(flat(0.9, 0.8, 0.7))
        attack.scores(flat(0.65, 0.6, 0.55))

    found = attack.run(steps)
    assert (found.stopped, found.queries, budget.spent) == ("budget", 5, 5)
    np.testing.assert_array_equal(found.images, flat(0.6))
    with pytest.raises(BudgetExhausted):
        attack.scores(flat(0.5))
    assert attack.queries == budget.spent


def test_a_refusal_ends_the_attack_and_a_failure_is_an_error() -> None:
    class Refusing(Wrapper):
        def before(self, images: torch.Tensor, tag: Tag | None) -> torch.Tensor:
            raise RateExceeded(len(images), 1.0)

    attack = asked(Refusing(Bright()))
    assert attack.run(lambda: attack.scores(flat(0.9))).stopped == "rate"
    failing = asked(LinearOracle(3, SHAPE, failing=True))
    with pytest.raises(ModelError, match="told to fail"):
        failing.run(lambda: failing.scores(flat(0.9)))


def test_what_was_answered_of_a_call_that_failed_counts() -> None:
    class Half:
        n_classes, image_shape = 3, SHAPE

        def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
            raise carrying(ModelError("gone"), Bright().query(images[:1]), self)

    budget = Budget(10)
    attack = asked(metered(budget, Half()))
    with pytest.raises(ModelError, match="gone"):
        attack.scores(flat(0.9, 0.6))
    assert attack.queries == budget.spent == 1
    np.testing.assert_array_equal(attack.found().images, flat(0.9))


def test_starts_of_another_form_are_refused() -> None:
    with pytest.raises(InvalidImages, match="shape"):
        asked(starts=np.zeros((1, 3, 2, 2), np.float32))
    with pytest.raises(InvalidImages, match="float32"):
        asked(starts=np.zeros((1, *SHAPE)))  # type: ignore[arg-type]
    with pytest.raises(InvalidImages, match="one class"):
        Asked(Bright(), flat(0.4), np.array([0, 1]))
    with pytest.raises(InvalidImages, match="one target"):
        asked(targets=np.array([0, 1]))
