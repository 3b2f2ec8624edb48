"""Messages between the processes: what is packed comes back, and what does not fit its header is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from oracles.sandbox.wire import Ended, packed, packed_all, unpacked, unpacked_all

TENSORS = {
    "label": torch.tensor([3, 1]),
    "scores": torch.rand(2, 4),
    "none": torch.zeros(0, 4),
    "flag": torch.tensor([True, False]),
    "bytes": torch.arange(6, dtype=torch.uint8).reshape(1, 2, 3).permute(0, 2, 1),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_comes_back(name: str) -> None:
    header, values = packed(TENSORS[name])
    back = unpacked(header, bytearray(values))
    assert (back.dtype, back.tolist()) == (TENSORS[name].dtype, TENSORS[name].tolist())


def test_several_tensors_come_back_by_name() -> None:
    header, values = packed_all(TENSORS)
    back = unpacked_all(header, bytearray(values))
    assert list(back) == list(TENSORS)
    assert all(torch.equal(back[name], tensor) for name, tensor in TENSORS.items())


@pytest.mark.parametrize(
    "entries",
    [
        [],
        None,
        "ab",
        [["a"]],
        [["a", None]],
        [["a", {"dtype": "float32", "shape": [1]}]],
        [["a", {"dtype": "float32", "shape": [3]}]],
        [["a", {"dtype": "float32", "shape": [2**40]}]],
        [["a", {"dtype": "float32", "shape": [-1]}]],
        [["a", {"dtype": "object", "shape": [2]}]],
    ],
)
def test_several_that_do_not_fit_their_header_are_refused(entries: Any) -> None:
    with pytest.raises(Ended):
        unpacked_all({"tensors": entries}, bytearray(8))
