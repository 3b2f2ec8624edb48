"""A dodging prober gets the answers that it would get, spreads and mixes as told, and pays for all of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from oracles.answers import Labels, Scores, encode
from oracles.budget import Budget
from oracles.dodge import Dodge, Dodged
from oracles.errors import BudgetExhausted, InvalidSpec, Refused
from oracles.oracle import Oracle
from oracles.spec import OracleSpec, build
from oracles.watch.settings import WatchSpec
from tests.contracts.oracle import OracleContract
from tests.oracles.fakes import LinearOracle, random_images

SCORES = OracleSpec()
HONEST = random_images(50, seed=9).numpy()


def dodged(dodge: Dodge, budget: Budget | None = None, spec: OracleSpec = SCORES) -> tuple[Dodged, LinearOracle]:
    model, shared = LinearOracle(), budget or Budget(None)
    return Dodged([build(spec, model, shared) for _ in range(dodge.keys)], dodge, HONEST), model


class TestDodgedContract(OracleContract):
    def make(self) -> Oracle:
        return dodged(Dodge(keys=3, honest=0.5))[0]


@pytest.mark.parametrize("spec", [OracleSpec(), OracleSpec(top_k=2), OracleSpec(label_only=True)])
@pytest.mark.parametrize("dodge", [Dodge(), Dodge(keys=3), Dodge(honest=1.5), Dodge(keys=4, honest=2.0, seed=3)])
def test_every_image_gets_its_own_answer(dodge: Dodge, spec: OracleSpec) -> None:
    plain = build(spec, LinearOracle(), Budget(None))
    oracle, _ = dodged(dodge, spec=spec)
    for n in (1, 7, 2):
        images = random_images(n, seed=n)
        assert encode(oracle.query(images)) == encode(plain.query(images))


def test_images_are_dealt_in_turn_and_honest_ones_are_charged() -> None:
    budget = Budget(100)
    oracle, model = dodged(Dodge(keys=2, honest=1.0), budget)
    oracle.query(random_images(6))
    assert [len(batch) for batch in model.batches] == [6, 6]
    assert (oracle.searched, oracle.mixed, budget.spent) == (6, 6, 12)
    sent = torch.cat(model.batches).numpy()
    honest = [image for image in sent if any(np.array_equal(image, known) for known in HONEST)]
    assert len({image.tobytes() for image in honest}) == 6, "each key starts at a place of its own"


def test_a_share_of_honest_images_is_met_on_average() -> None:
    oracle, _ = dodged(Dodge(honest=0.25))
    for seed in range(200):
        oracle.query(random_images(1, seed=seed))
    assert 30 < oracle.mixed < 70


def test_noise_moves_each_image_and_stays_in_range() -> None:
    oracle, model = dodged(Dodge(noise_std=0.1))
    images = random_images(20)
    oracle.query(images)
    apart = model.batches[0] - images
    assert 0.05 < float(apart.std()) < 0.11
    assert 0.0 <= float(model.batches[0].min()) <= float(model.batches[0].max()) <= 1.0


def test_a_banned_key_is_left_out_until_none_is_left() -> None:
    oracle, model = dodged(Dodge(keys=2), spec=OracleSpec(watch=WatchSpec(detector="blacklight", action="ban")))
    plain = LinearOracle()
    ten = random_images(10)
    for which in ([0, 1], [0, 2], [3, 4, 5, 6]):  # the first key sees image 0 twice
        images = ten[which]
        assert encode(oracle.query(images)) == encode(plain.query(images))
    seen = model.images_seen
    oracle.query(ten[[4]])  # now the other key sees one again
    for _ in range(2):
        with pytest.raises(Refused, match="alarm"):
            oracle.query(ten[[8]])
    assert model.images_seen == seen + 1


def test_answers_of_different_forms_become_labels() -> None:
    model, budget = LinearOracle(), Budget(None)
    keys = [build(spec, model, budget) for spec in (OracleSpec(), OracleSpec(top_k=1))]
    images = random_images(5)
    answer = Dodged(keys, Dodge(keys=2), HONEST).query(images)
    assert isinstance(answer, Labels)
    exact = LinearOracle().query(images)
    assert isinstance(exact, Scores)
    assert np.array_equal(answer.labels, exact.values.argmax(axis=1))


def test_rounded_and_exact_scores_have_the_larger_floor() -> None:
    model, budget = LinearOracle(), Budget(None)
    keys = [build(spec, model, budget) for spec in (OracleSpec(), OracleSpec(decimals=1))]
    answer = Dodged(keys, Dodge(keys=2), HONEST).query(random_images(5))
    assert isinstance(answer, Scores)
    assert answer.floor == 0.05


def test_the_budget_ends_the_whole() -> None:
    oracle, _ = dodged(Dodge(keys=2), Budget(5))
    with pytest.raises(BudgetExhausted):
        oracle.query(random_images(12))


@pytest.mark.parametrize(
    "fields", [{"keys": 0}, {"honest": -1.0}, {"honest": float("nan")}, {"noise_std": 2.0}, {"seed": -1}]
)
def test_impossible_dodges_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidSpec, match="give"):
        Dodge(**fields)  # type: ignore[arg-type]


def test_keys_and_images_must_be_as_many_as_said() -> None:
    with pytest.raises(InvalidSpec):
        Dodged([LinearOracle()], Dodge(keys=2), HONEST)
    with pytest.raises(InvalidSpec):
        Dodged([LinearOracle()], Dodge(honest=1.0), HONEST[:0])
