"""Each black-box attack of ART and foolbox that runs here, on a metered oracle: what it spends is what is charged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from oracles.adapters.art import art_classifier
from oracles.adapters.asked import Asked, Found
from oracles.adapters.foolbox import foolbox_model
from oracles.answers import top_label
from oracles.budget import Budget
from oracles.spec import OracleSpec, build
from tests.oracles.fakes import LinearOracle

MODEL = LinearOracle(5, (3, 8, 8))
STARTS = np.random.default_rng(1).uniform(0.2, 0.8, (2, 3, 8, 8)).astype(np.float32)
CLASSES = top_label(MODEL.query(torch.from_numpy(STARTS)))

ART: dict[str, tuple[dict[str, Any], bool]] = {
    "HopSkipJump": ({"max_iter": 2, "max_eval": 50, "init_eval": 5, "verbose": False}, True),
    "BoundaryAttack": ({"targeted": False, "max_iter": 5, "num_trial": 4, "verbose": False}, True),
    "SquareAttack": ({"eps": 0.3, "max_iter": 40, "verbose": False}, False),
    "SimBA": ({"attack": "px", "max_iter": 100, "epsilon": 0.3, "verbose": False}, False),
    "ZooAttack": ({"max_iter": 5, "use_resize": False, "nb_parallel": 20, "verbose": False}, False),
    "SignOPTAttack": ({"targeted": False, "max_iter": 2, "query_limit": 500, "verbose": False}, True),
}
"""Options, and whether the attack needs labels only. GeoDA is not among them: it does not run with NumPy 2."""

FOOLBOX: dict[str, dict[str, Any]] = {
    "HopSkipJumpAttack": {"steps": 2, "initial_gradient_eval_steps": 10, "max_gradient_eval_steps": 20},
    "BoundaryAttack": {"steps": 20},
}


def attacked(labels: bool, cap: int, run: Callable[[Asked], object]) -> tuple[Found, Budget]:
    """What an attack with a budget of `cap` found, and the budget."""
    np.random.seed(0)
    torch.manual_seed(0)
    budget = Budget(cap)
    asked = Asked(build(OracleSpec(label_only=labels), MODEL, budget), STARTS, CLASSES)
    found = asked.run(lambda: run(asked))
    return found, budget


def check(found: Found, budget: Budget) -> None:
    assert found.queries == budget.spent > 0
    assert budget.cap is not None
    assert found.queries <= budget.cap
    kept = np.isfinite(found.distances)
    if kept.any():  # each is what the model says it is, at the distance that is stated
        labels = top_label(MODEL.query(torch.from_numpy(found.images[kept])))
        assert (labels != CLASSES[kept]).all()
        apart = np.linalg.norm((found.images - STARTS).reshape(2, -1), axis=1)
        np.testing.assert_allclose(apart[kept], found.distances[kept], rtol=1e-5)


def run_art(name: str, labels: bool, cap: int) -> tuple[Found, Budget]:
    evasion = pytest.importorskip("art.attacks.evasion", reason="ART is not installed")

    def run(asked: Asked) -> object:
        return getattr(evasion, name)(art_classifier(asked), **ART[name][0]).generate(STARTS)

    return attacked(labels, cap, run)


def run_foolbox(name: str, cap: int) -> tuple[Found, Budget]:
    foolbox = pytest.importorskip("foolbox", reason="foolbox, or GitPython, which it imports, is not installed")

    def run(asked: Asked) -> object:
        attack, classes = getattr(foolbox.attacks, name)(**FOOLBOX[name]), torch.from_numpy(CLASSES).long()
        return attack(foolbox_model(asked), torch.from_numpy(STARTS), classes, epsilons=None)

    return attacked(True, cap, run)


@pytest.mark.parametrize("name", ART)
def test_attacks_of_art_spend_what_is_charged(name: str) -> None:
    check(*run_art(name, ART[name][1], 3_000))


@pytest.mark.parametrize("name", ["HopSkipJump", "SignOPTAttack"])
def test_a_budget_that_ends_in_the_middle_loses_no_picture(name: str) -> None:
    found, budget = run_art(name, ART[name][1], 90)
    check(found, budget)
    assert (found.stopped, found.queries) == ("budget", 90)
    assert np.isfinite(found.distances).any()


@pytest.mark.process  # GitPython, which foolbox imports, asks git for its version
@pytest.mark.parametrize("name", FOOLBOX)
def test_attacks_of_foolbox_spend_what_is_charged(name: str) -> None:
    found, budget = run_foolbox(name, 3_000)
    check(found, budget)
    assert np.isfinite(found.distances).all()


@pytest.mark.process
def test_foolbox_with_a_budget_that_ends_loses_no_picture() -> None:
    found, budget = run_foolbox("BoundaryAttack", 40)
    check(found, budget)
    assert (found.stopped, found.queries) == ("budget", 40)
