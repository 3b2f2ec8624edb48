from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from oracles.foreign import FixedBatch, ForeignModel

ROWS = [[0.25, 0.75], [0.5, 0.5]]


@pytest.mark.parametrize("give", [lambda r: r, tuple, np.array, np.float64, torch.tensor, lambda r: np.array(r, "f2")])
def test_rows_may_be_lists_arrays_or_tensors(give: Any) -> None:
    model = ForeignModel(lambda images: give(ROWS), 2, thread_safe=False)
    rows = model(torch.zeros(2, 1, 3, 3))
    assert isinstance(rows, torch.Tensor)
    assert rows.tolist() == ROWS


@pytest.mark.parametrize("rows", [None, {"a": 1}, "no"])
def test_what_holds_no_numbers_is_left_as_it_is(rows: Any) -> None:
    assert ForeignModel(lambda images: rows, 2, thread_safe=False)(torch.zeros(1, 1, 3, 3)) is rows


@pytest.mark.parametrize("rows", [[["a"]], [[1.0], [1.0, 2.0]], np.array([[1j]])])
def test_rows_of_other_things_raise(rows: Any) -> None:
    with pytest.raises((ValueError, TypeError, np.exceptions.ComplexWarning)):
        ForeignModel(lambda images: rows, 2, thread_safe=False)(torch.zeros(1, 1, 3, 3))


def test_it_gets_contiguous_float32_and_is_never_asked_about_nothing() -> None:
    seen: list[Any] = []

    def answer(images: Any) -> Any:
        seen.append(images)
        return np.zeros((len(images), 2))

    model = ForeignModel(answer, 2, thread_safe=False)
    assert model(torch.zeros(0, 3, 4, 4)).shape == (0, 2)
    assert not seen
    model(torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last))
    assert (seen[0].dtype, seen[0].shape, seen[0].flags.c_contiguous) == (np.float32, (2, 3, 4, 4), True)
    with pytest.raises(ValueError, match="no answer"):
        ForeignModel(answer, None, thread_safe=False)(torch.zeros(0, 3, 4, 4))


def test_a_function_may_want_gradients_of_its_own() -> None:
    def answer(images: Any) -> Any:
        x = torch.from_numpy(images).requires_grad_()
        (slope,) = torch.autograd.grad(x.sum(), x)
        return slope.flatten(1)[:, :2]

    with torch.inference_mode():
        assert ForeignModel(answer, 2, thread_safe=False)(torch.zeros(2, 1, 3, 3)).tolist() == [[1.0, 1.0]] * 2


def test_a_copy_is_itself_and_it_stays_where_it_is() -> None:
    model = ForeignModel(lambda images: ROWS, 2, thread_safe=False)
    assert copy.deepcopy(model) is model
    assert model.to(device="cpu", dtype=torch.float32) is model
    for elsewhere in ({"dtype": torch.bfloat16}, {"device": "meta"}):
        with pytest.raises(ValueError, match="leave precision and device out"):
            model.to(**elsewhere)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_every_pass_of_a_fixed_batch_is_full(count: int) -> None:
    sizes: list[int] = []

    class Counting(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            return images.flatten(1)

    images = torch.rand(count, 1, 2, 2)
    assert torch.equal(FixedBatch(Counting(), 3)(images), images.flatten(1))
    assert set(sizes) == {3}
    assert len(sizes) == max(1, -(-count // 3))


@pytest.mark.parametrize("give", [tuple, lambda parts: {"0": parts[0], "1": parts[1]}])
def test_several_answers_keep_their_names(give: Any) -> None:
    parts = (np.array([1, 0]), np.array(ROWS))
    returned: Any = ForeignModel(lambda images: give(parts), {"0": 1, "1": 2}, thread_safe=False)
    assert {name: rows.tolist() for name, rows in returned(torch.zeros(2, 1, 3, 3)).items()} == {"0": [1, 0], "1": ROWS}
    assert {name: tuple(rows.shape) for name, rows in returned(torch.zeros(0, 1, 3, 3)).items()} == {
        "0": (0, 1),
        "1": (0, 2),
    }


def test_a_fixed_batch_is_filled_up_for_every_answer() -> None:
    class Two(nn.Module):
        def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            assert len(images) == 3
            return {"sum": images.sum(dim=(1, 2, 3)), "rows": images.flatten(1)}

    images = torch.rand(7, 1, 2, 2)
    answer: Any = FixedBatch(Two(), 3)(images)
    assert torch.equal(answer["rows"], images.flatten(1))
    assert answer["sum"].shape == (7,)
