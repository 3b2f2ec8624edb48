"""What rows are taken for by the first answer: probabilities on any scale, with noise, of sigmoids, or logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.decision import Decision, decided
from oracles.errors import ModelError
from oracles.rows import as_probabilities, evidence
from oracles.torch_model import TorchOracle
from oracles.torch_options import Output, TorchOptions
from tests.oracles.test_rows import Answers, rounded, softmax, top


def noise(size: float) -> torch.Tensor:
    return size * torch.randn(50, 10, generator=torch.Generator().manual_seed(2))


def decision(rows: torch.Tensor, output: Output = "auto") -> Decision:
    shown = evidence(rows, 1e-3)
    assert shown is not None
    return decided(Decision(output), shown)


PERCENT = 100 * softmax(50, 10, 1.0)
BYTES = (255 * softmax(50, 10, 1.0)).round()
SIGMOIDS = torch.sigmoid(2 * torch.randn(50, 10, generator=torch.Generator().manual_seed(3)))
RELU = torch.relu(3 * torch.randn(50, 10, generator=torch.Generator().manual_seed(3)))
NOISY = (softmax(50, 10, 2.0) + noise(0.02)).clamp(0, 1)
NOISY_BELOW_0 = softmax(50, 10, 2.0) + noise(0.02)


@pytest.mark.parametrize("output", ["auto", "probabilities"])
@pytest.mark.parametrize(
    ("rows", "scale"), [(PERCENT, 100.0), (rounded(PERCENT, 1), 100.0), (PERCENT.round(), 100.0), (BYTES, 255.0)]
)
def test_percentages_and_bytes_are_divided_and_noted(rows: torch.Tensor, scale: float, output: Output) -> None:
    oracle = TorchOracle(Answers(rows), (1, 2, 2), TorchOptions(output), 10)
    scores = oracle.query(torch.zeros(50, 1, 2, 2)).values  # type: ignore[union-attr]
    np.testing.assert_allclose(scores, softmax(50, 10, 1.0), atol=0.02)
    (note,) = oracle.notes
    assert note.startswith(f"the answers were divided by {scale:g} and taken for probabilities: 50 rows, sums")
    assert oracle.odd == 0


@settings(deadline=None)  # the first call of torch in a process is slow
@given(st.integers(2, 40), st.integers(0, 500), st.sampled_from([100.0, 255.0]), st.sampled_from([0.5, 2.0, 10.0]))
def test_the_scale_is_found_and_divided_away(classes: int, seed: int, scale: float, sharp: float) -> None:
    exact = softmax(20, classes, sharp, seed)
    shown = evidence(scale * exact, 1e-3)
    assert shown is not None
    assert shown.scale == scale
    scores, odd = as_probabilities(scale * exact, 1e-3, scale)
    assert odd == 0
    torch.testing.assert_close(scores, exact, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "rows", [RELU, 50 * softmax(50, 10, 1.0), top(3 * softmax(50, 100, 1.0), 1), -PERCENT, SIGMOIDS]
)
def test_rows_of_another_sum_have_no_scale(rows: torch.Tensor) -> None:
    shown = evidence(rows, 1e-3)
    assert shown is not None
    assert shown.scale == 1.0


@pytest.mark.parametrize(
    "rows", [RELU, SIGMOIDS, NOISY, NOISY_BELOW_0, 50 * softmax(50, 10, 1.0), -softmax(50, 10, 1.0).log()]
)
def test_doubt_about_logits_is_noted_with_what_it_was_decided_on(rows: torch.Tensor) -> None:
    found = decision(rows)
    assert (found.output, found.scale) == ("logits", 1.0)
    assert found.evidence.startswith("50 rows, sums")
    assert found.note.startswith(
        f"the answers were taken for logits, though they may be probabilities: {found.evidence}"
    )
    assert "numbers" in found.note


@pytest.mark.parametrize("rows", [noise(5.0), noise(0.1), softmax(50, 10, 1.0).log(), RELU - 1.0])
def test_logits_with_negative_numbers_are_not_doubted(rows: torch.Tensor) -> None:
    found = decision(rows)
    assert (found.output, found.note) == ("logits", "")


@pytest.mark.parametrize("rows", [RELU, SIGMOIDS, NOISY, PERCENT, softmax(50, 10, 1.0)])
def test_logits_that_were_set_are_neither_judged_nor_noted(rows: torch.Tensor) -> None:
    assert decision(rows, "logits") == Decision("logits", settled=True)


@pytest.mark.parametrize("rows", [SIGMOIDS, NOISY, NOISY_BELOW_0, 0.05 * softmax(50, 10, 1.0)])
def test_set_probabilities_are_brought_to_a_sum_of_one_with_a_note(rows: torch.Tensor) -> None:
    oracle = TorchOracle(Answers(rows), (1, 2, 2), TorchOptions("probabilities"), 10)
    scores = torch.from_numpy(oracle.query(torch.zeros(50, 1, 2, 2)).values)  # type: ignore[union-attr]
    positive = rows.clamp(min=0.0)
    torch.testing.assert_close(scores, positive / positive.sum(dim=1, keepdim=True), atol=0.02, rtol=0.0)
    assert oracle.notes[0].startswith(
        "the answers were taken for probabilities, as set, though they do not sum to 1: 50"
    )
    assert "of the model's rows were no probabilities" in oracle.notes[1]


@pytest.mark.parametrize(
    ("rows", "advice"),
    [(noise(5.0), "set output='logits'"), (RELU, "divide them so that each row sums to 1, or set output='logits' if")],
)
def test_set_probabilities_that_cannot_be_are_an_error_with_advice(rows: torch.Tensor, advice: str) -> None:
    with pytest.raises(ModelError, match=rf"no probabilities .*: 50 rows, sums .*, numbers .* to .*; {advice}"):
        decision(rows, "probabilities")


def test_a_later_odd_row_of_percentages_keeps_its_order() -> None:
    rows = torch.cat([PERCENT, torch.tensor([[50.0, 30.0, 10.0, *[0.0] * 7], [-1.0, 2.0, *[0.0] * 8]])])
    oracle = TorchOracle(Answers(rows), (1, 2, 2), n_classes=10)
    oracle.query(torch.zeros(50, 1, 2, 2))
    later = oracle.query(torch.zeros(2, 1, 2, 2)).values  # type: ignore[union-attr]
    np.testing.assert_allclose(later.sum(axis=1), [1.0, 1.0], atol=0.11)
    assert later.argmax(axis=1).tolist() == [0, 1]


def test_what_ends_in_softmax_keeps_its_evidence() -> None:
    shown = evidence(softmax(5, 4, 1.0), 1e-3)
    assert shown is not None
    found = decided(Decision("probabilities", "the model ends in softmax"), shown)
    assert found == Decision("probabilities", "the model ends in softmax", settled=True)
