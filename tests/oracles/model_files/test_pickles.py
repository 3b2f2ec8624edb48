"""Weights are followed before torch makes room for them: what is read as before, and what is refused."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch

from oracles.model_files.pickles import check_pickles
from tests.oracles.model_files.files import victim
from tests.oracles.model_files.pickle_bombs import BOMBS, ONE, in_archive, in_old_file, tensor

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def _optimized() -> dict[str, Any]:
    model = victim()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "args": [1, 2.5, None, "a"]}


KEPT: dict[str, Callable[[], Any]] = {
    "weights": lambda: victim().state_dict(),
    "checkpoint": _optimized,
    "parameters": lambda: dict(victim().named_parameters()),
    "slices": lambda: {"a": torch.rand(9)[2:5], "b": torch.rand(4, 4).t(), "c": torch.ones(2, 1).expand(2, 3)},
    "empty": lambda: {"a": torch.zeros(0, 3), "b": torch.tensor(1.0)},
    "types": lambda: {str(t): torch.ones(3).to(t) for t in (torch.half, torch.bfloat16, torch.int8, torch.bool)},
    "new types": lambda: {"a": torch.ones(3).to(torch.float8_e4m3fn), "b": torch.ones(3).to(torch.uint16)},
    "sparse": lambda: {"a": torch.eye(3).to_sparse()},
    "quantised": lambda: {"a": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)},
    "meta": lambda: {"a": torch.ones(3, device="meta")},
    "words": lambda: {"a": torch.Size([1, 2]), "b": torch.float32, "c": torch.device("cpu"), "d": b"bytes"},
    "sets": lambda: {"a": {1, 2}, "b": complex(1, 2), "c": OrderedDict(a=1)},
}


@pytest.mark.parametrize(
    ("kind", "zipped"),
    [(kind, zipped) for kind in KEPT for zipped in (True, False) if zipped or kind != "new types"],
)
def test_what_torch_reads_is_followed_to_its_end(kind: str, zipped: bool) -> None:
    stream = io.BytesIO()
    torch.save(KEPT[kind](), stream, _use_new_zipfile_serialization=zipped)
    torch.load(io.BytesIO(stream.getvalue()), weights_only=True)
    check_pickles(stream.getvalue())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wrapped", [in_archive, in_old_file])
@pytest.mark.parametrize("bomb", BOMBS)
def test_what_would_take_more_than_the_file_explains_is_refused(bomb: str, wrapped: Callable[[bytes], bytes]) -> None:
    with pytest.raises((pickle.UnpicklingError, ValueError, TypeError)):
        check_pickles(wrapped(BOMBS[bomb]))


@pytest.mark.parametrize("wrapped", [in_archive, in_old_file])
def test_the_same_bytes_without_a_bomb_are_followed(wrapped: Callable[[bytes], bytes]) -> None:
    check_pickles(wrapped(tensor(1, ONE, ONE)))


@pytest.mark.parametrize("names", [("a/data.pkl", "b/data.pkl"), ("a/data.pkl", "a/DATA.pkl"), ("a/data.pkl", "x")])
def test_an_archive_with_a_member_twice_or_two_roots_is_refused(names: tuple[str, str]) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"\x80\x02}.")
    with pytest.raises(pickle.UnpicklingError, match="several folders, or one is there twice"):
        check_pickles(stream.getvalue())


def test_a_name_that_is_no_weight_is_named_and_not_imported() -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"nowhere\.thing is no part of plain weights"):
        check_pickles(in_archive(b"\x80\x02cnowhere\nthing\n."))


def test_storages_of_an_old_file_are_counted_together() -> None:
    one = tensor(60, ONE, ONE).removeprefix(b"\x80\x02").removesuffix(b".")
    several = b"".join(one.replace(b"\x000X", b"\x00%dX" % number) for number in range(9))
    data = in_old_file(b"\x80\x02](" + several + b"e.")
    check_pickles(data + bytes(4 * 60 * 9))
    with pytest.raises(ValueError, match="larger than the file"):
        check_pickles(data)
