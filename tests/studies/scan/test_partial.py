"""Scans of a paid function that fails in the middle of a call: nothing is paid twice, and nothing else differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from db import reads
from db.check import check
from oracles.errors import ModelError
from studies.replay.ask_again import AskAgain, replay
from studies.replay.other_rules import replayed
from tests.studies.replay.test_ask_again import GIVEN
from tests.studies.scan.test_guarded_scan import BLOCKING, REFUSING, WAITING, refusals
from tests.studies.scans import TemplateNet, arrays, scanned, told

NOISY = {"score_noise": 0.05, "input_noise": 0.05, "seed": 2}


class Paid:
    """A function behind which a network answers. Raises `error` at the calls of the given numbers."""

    def __init__(self, *failing: int, error: BaseException | None = None) -> None:
        self.net, self.failing, self.error = TemplateNet(target=1), failing, error or ConnectionError("503")
        self.calls = 0

    def __call__(self, images: Any) -> Any:
        self.calls += 1
        if self.calls in self.failing:
            raise self.error
        with torch.inference_mode():
            return self.net(torch.from_numpy(images)).numpy()

    @property
    def paid(self) -> int:
        return self.net.seen.images


def scan_of(paid: Paid, db: Path, oracle: Any) -> Any:
    return scanned(paid, budget=400, oracle=oracle, db=db, name="paid", batch_limit=7)


@pytest.mark.parametrize("oracle", ["scores", "label", "top2", NOISY, WAITING, REFUSING, BLOCKING], ids=str)
@pytest.mark.parametrize("error", [ConnectionError("503"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_scan_that_fails_in_the_middle_of_calls_ends_as_one_that_never_did(
    oracle: Any, error: BaseException, tmp_path: Path
) -> None:
    whole, db = tmp_path / "whole.db", tmp_path / "failing.db"
    unbroken = scan_of(Paid(), whole, oracle)
    paid = Paid(3, 4, 9, 30, 47, error=error)
    for _ in paid.failing:
        with pytest.raises((ModelError, KeyboardInterrupt)):
            scan_of(paid, db, oracle)
        assert sum(reads.spend(db)["queries"]) == paid.paid
        assert check(db) == []
    result = scan_of(paid, db, oracle)
    assert told(result) == told(unbroken)
    assert arrays(result) == arrays(unbroken)
    assert refusals(db) == refusals(whole)
    assert paid.paid == result.spent == len(reads.queries(db))
    assert check(db) == []
    columns = ["image", "candidate", "label", "score"]
    first, second = reads.queries(whole)[columns], reads.queries(db)[columns]
    assert np.array_equal(first.to_numpy(float), second.to_numpy(float), equal_nan=True)


@pytest.mark.parametrize("oracle", ["scores", NOISY], ids=str)
def test_its_ledger_replays_and_reads_under_other_rules(oracle: Any, tmp_path: Path) -> None:
    db, paid = tmp_path / "failing.db", Paid(3, 30, 47)
    for _ in paid.failing:
        with pytest.raises(ModelError):
            scan_of(paid, db, oracle)
    result = scan_of(paid, db, oracle)
    again = replay(db, None, AskAgain(Paid()), GIVEN)
    assert again.holds
    assert again.compared.queries == result.spent
    (reading,) = replayed(db, given=GIVEN)
    assert (reading.verdict, reading.flagged, reading.spent) == (result.verdict, result.flagged, result.spent)


def test_an_unfinished_run_replays_as_far_as_it_was_answered(tmp_path: Path) -> None:
    db, paid = tmp_path / "failing.db", Paid(30)
    with pytest.raises(ModelError):
        scan_of(paid, db, "scores")
    again = replay(db, None, AskAgain(Paid()), GIVEN)
    assert (again.holds, again.compared.queries) == (True, paid.paid)


@pytest.mark.parametrize("oracle", ["scores", "label"])
def test_a_function_that_fails_is_told_with_what_is_stored_and_no_advice_on_sizes(oracle: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        scan_of(Paid(9), tmp_path / "kept.db", oracle)
    stored = sum(reads.spend(tmp_path / "kept.db")["queries"])
    said = str(error.value)
    assert said.endswith(f"; {stored} answers are stored, and the same scan goes on from there")
    assert "ConnectionError: 503" in said
    assert "chunk" not in said
    assert "by hand" not in said


def test_where_nothing_is_stored_nothing_is_said_of_it(tmp_path: Path) -> None:
    for db, failing in ((None, 9), (tmp_path / "none.db", 1)):
        with pytest.raises(ModelError) as error:
            scanned(Paid(failing), budget=400, db=db, name="paid", batch_limit=7)
        assert "stored" not in str(error.value)
