"""Models that a ledger only names: nothing is imported on a ledger's word, and what must be given is said."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from db.stored import StoredRun
from oracles.errors import ModelError
from studies.ledgers.run_words import command_of
from studies.replay.ask_again import AskAgain, replay
from tests.fakes import PlantedOracle
from tests.studies.replay.test_ask_again import GIVEN, scan_into
from tests.studies.scans import scanned

CODE = """
from pathlib import Path

import torch

from tests.fakes import PlantedOracle

Path("imported").touch()
oracle = PlantedOracle()


def answer(images):
    return oracle.query(torch.as_tensor(images)).values
"""


def test_code_that_a_ledger_names_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db, address = tmp_path / "scan.db", "python:simkit_test_replayed:answer"
    (tmp_path / "simkit_test_replayed.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    scanned(address, db=db, budget=300, batch_limit=50)
    monkeypatch.delitem(sys.modules, "simkit_test_replayed")
    canary = tmp_path / "imported"
    canary.unlink()
    with pytest.raises(ModelError, match=f"run 1, {address}, is code.*; give the model"):
        replay(db, 1, given=GIVEN)
    assert not canary.exists()
    result = replay(db, 1, AskAgain(address), GIVEN)
    assert (result.same_model, result.holds, result.compared.equal) == (True, True, result.stored)
    assert f"simkit scan {address} " in str(command_of(StoredRun.read(db).info)[0])


def test_a_function_that_was_handed_over_must_be_given(tmp_path: Path) -> None:
    def answer(images: Any) -> Any:
        return PlantedOracle().query(torch.as_tensor(images)).values  # type: ignore[union-attr]

    db = tmp_path / "scan.db"
    scan_into(db, answer, batch_limit=50, budget=300)
    with pytest.raises(ModelError, match=r"the model of run 1 cannot be opened \(.*\); give the model"):
        replay(db, 1, given=GIVEN)
