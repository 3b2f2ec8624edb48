"""A run is what the metered oracle records into, and what it kept is what a replay answers from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from db.check import check
from db.ledger import Ledger
from db.records import CallLike, RunInfo, StoredCall
from db.run import Run
from oracles.answers import Answer, Scores, decode
from oracles.budget import Budget
from oracles.errors import BudgetExhausted
from oracles.meter import CallRecord, Metered, Recorded, Recorder
from oracles.oracle import ImageShape, Tag
from oracles.replay import Replayed
from oracles.replay import StoredCall as Replayable

MakeRun = Callable[..., RunInfo]


def as_recorder(run: Run) -> Recorder:
    """Only the type checker can fail here."""
    return run


def as_call(call: CallRecord) -> CallLike:
    """Only the type checker can fail here."""
    return call


def as_replayable(call: StoredCall) -> Replayable:
    """Only the type checker can fail here."""
    return call


class Brightness:
    """Two classes: dark and bright."""

    n_classes = 2
    image_shape: ImageShape = (1, 2, 2)

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        bright = images.mean(dim=(1, 2, 3)).numpy()
        return Scores(np.stack([1 - bright, bright], axis=1).astype(np.float32))


def test_a_recorded_run_is_replayed_without_asking(path: Path, make_run: MakeRun) -> None:
    images = torch.linspace(0, 1, 20).reshape(5, 1, 2, 2)
    rows = np.stack([np.arange(5), np.zeros(5)], axis=1).astype(np.int32)
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run(budget=7))
        oracle = Recorded(Metered(Brightness(), Budget(7)), as_recorder(run))
        tag = Tag(run.open_step(0, "search", "{}"), rows)
        first = oracle.query(images, tag)
        with pytest.raises(BudgetExhausted):
            oracle.query(images, tag)
        assert (run.spent, run.refused) == (5, 5)
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run(budget=7))
        live = Recorded(Metered(Brightness(), Budget(7, spent=run.spent)), as_recorder(run))
        replay = Replayed(live, (as_replayable(call) for call in run.stored_calls()))
        again = replay.query(images, Tag(run.open_step(0, "search", "{}"), rows))
        assert (replay.replayed, run.spent) == (5, 5)
        replay.query(images[:2])
        assert run.spent == 7
        stored = list(run.stored_calls())
    assert isinstance(first, Scores)
    assert isinstance(again, Scores)
    assert again.values.tobytes() == first.values.tobytes()
    assert len(decode(stored[0].codec, stored[0].answers)) == 5
    assert check(path) == []
