"""Logits or probabilities: what rows of any precision are taken for, and what becomes of odd ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oracles.rows import as_probabilities, evidence
from oracles.torch_model import TorchOracle
from oracles.torch_options import Output, TorchOptions


def softmax(rows: int, classes: int, sharp: float, seed: int = 0) -> torch.Tensor:
    return (sharp * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))).softmax(dim=1)


def rounded(rows: torch.Tensor, decimals: int) -> torch.Tensor:
    return torch.from_numpy(np.round(rows.double().numpy(), decimals)).float()


def truncated(rows: torch.Tensor, decimals: int) -> torch.Tensor:
    return torch.from_numpy(np.floor(rows.double().numpy() * 10**decimals) / 10**decimals).float()


def top(rows: torch.Tensor, k: int) -> torch.Tensor:
    best, where = rows.topk(k, dim=1)
    return torch.zeros_like(rows).scatter(1, where, best)


MADE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "exact": lambda rows: rows,
    "1 decimal": lambda rows: rounded(rows, 1),
    "2 decimals": lambda rows: rounded(rows, 2),
    "4 decimals": lambda rows: rounded(rows, 4),
    "truncated to 2": lambda rows: truncated(rows, 2),
    "truncated to 3": lambda rows: truncated(rows, 3),
    "top 2": lambda rows: top(rows, 2),
    "top 2, 2 decimals": lambda rows: rounded(top(rows, 2), 2),
    "threshold": lambda rows: torch.where(rows >= 0.05, rows, 0.0),
    "float16": lambda rows: rows.half().float(),
    "bfloat16": lambda rows: rows.bfloat16().float(),
}


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
@pytest.mark.parametrize("sharp", [0.3, 2.0, 20.0])
@pytest.mark.parametrize("made", MADE)
def test_probabilities_of_any_precision_are_recognised(made: str, sharp: float, classes: int) -> None:
    rows = MADE[made](softmax(50, classes, sharp))
    shown = evidence(rows, 1e-3)
    if shown is None:  # a flat row of 1000 classes rounds to zeros, which say nothing
        assert not rows.any()
        return
    assert shown.probabilities
    scores, odd = as_probabilities(rows, 1e-3)
    assert odd == 0
    assert torch.equal(scores, rows)


@given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 1000), st.sampled_from([0.5, 3.0, 30.0]))
def test_rounding_and_truncating_never_hide_probabilities(classes: int, decimals: int, seed: int, sharp: float) -> None:
    exact = softmax(8, classes, sharp, seed)
    for rows in (rounded(exact, decimals), truncated(exact, decimals)):
        shown = evidence(rows, 1e-3)
        assert shown is None or shown.probabilities


@pytest.mark.parametrize(
    "rows",
    [
        torch.randn(50, 10, generator=torch.Generator().manual_seed(1)),
        torch.relu(3 * torch.randn(50, 10, generator=torch.Generator().manual_seed(1))),
        torch.rand(50, 10, generator=torch.Generator().manual_seed(1)),  # independent sigmoids
        rounded(5 * torch.rand(50, 10, generator=torch.Generator().manual_seed(1)), 1),
        torch.ones(50, 10),
        0.05 * softmax(50, 10, 1.0),
        softmax(50, 10, 1.0).log(),
        100 * softmax(50, 10, 1.0),
    ],
)
def test_other_rows_are_logits(rows: torch.Tensor) -> None:
    shown = evidence(rows, 1e-3)
    assert shown is not None
    assert not shown.probabilities


def test_the_evidence_in_words() -> None:
    said = {made: str(evidence(MADE[made](softmax(50, 10, 2.0)), 1e-3)) for made in MADE}
    assert said["exact"] == "50 rows, sums 1 to 1"
    assert said["2 decimals"].endswith("(2 decimals)")
    assert said["top 2"].endswith("(zeros in place of some classes)")
    assert said["top 2, 2 decimals"].endswith("(2 decimals; zeros in place of some classes)")
    assert said["float16"].endswith("(float16)")
    assert said["bfloat16"].endswith("(bfloat16)")


def test_rows_of_zeros_and_no_rows_say_nothing() -> None:
    assert evidence(torch.zeros(3, 4), 1e-3) is None
    assert evidence(torch.zeros(0, 4), 1e-3) is None


def test_odd_rows_are_brought_to_a_sum_of_one() -> None:
    rows = torch.tensor([[0.31, 0.3, 0.29, 0.08], [0.7, 0.9, 0.61, 0.123], [4.0, -2.0, 0.5, 1.0], [0.25] * 4])
    scores, odd = as_probabilities(rows, 1e-3)
    assert odd == 2
    torch.testing.assert_close(scores[1], rows[1] / rows[1].sum())
    torch.testing.assert_close(scores[2], rows[2].softmax(dim=0))
    torch.testing.assert_close(scores[3], rows[3])


def test_nan_and_zeros_stay() -> None:
    scores, odd = as_probabilities(torch.tensor([[float("nan"), 0.1], [0.0, 0.0]]), 1e-3)
    assert odd == 0
    assert scores[0, 0].isnan()
    assert scores[1].tolist() == [0.0, 0.0]


class Answers(torch.nn.Module):
    """Gives the rows that it was made with, as many as there are images."""

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.rows, self.given = rows, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.given += len(images)
        return self.rows[self.given - len(images) : self.given]


def test_a_later_odd_row_does_not_end_what_was_paid_for() -> None:
    rows = torch.cat([softmax(4, 4, 1.0), torch.tensor([[0.1, 0.1, 0.1, 0.2], [3.0, 1.0, 0.0, -1.0]])])
    outputs: tuple[Output, ...] = ("auto", "probabilities")
    for output in outputs:
        oracle = TorchOracle(Answers(rows), (1, 2, 2), TorchOptions(output), 4)
        oracle.query(torch.zeros(4, 1, 2, 2))
        assert not oracle.notes
        later = oracle.query(torch.zeros(2, 1, 2, 2)).values  # type: ignore[union-attr]
        np.testing.assert_allclose(later.sum(axis=1), 1.0, atol=1e-6)
        assert oracle.notes == ("2 of the model's rows were no probabilities; they were brought to a sum of 1",)


def test_one_odd_row_of_the_first_answer_does_not_decide() -> None:
    rows = softmax(20, 4, 1.0)
    rows[3] *= 0.7
    oracle = TorchOracle(Answers(rows), (1, 2, 2), n_classes=4)
    oracle.query(torch.zeros(20, 1, 2, 2))
    assert oracle.output == "probabilities"
    assert oracle.evidence.startswith("20 rows, sums 0.7 to 1")
