from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from oracles.errors import ModelError
from studies.importers.inert import Inert, read_inert
from tests.oracles.model_files.files import Canary


class Kept:
    """An object with a state, as images in such files are."""

    def __init__(self) -> None:
        self.state = {1, 2}


def saved(path: Path, what: object) -> Path:
    torch.save(what, path)
    return path


def test_tensors_numbers_and_text_are_read(tmp_path: Path) -> None:
    grid = torch.arange(12.0).reshape(3, 4)
    what: OrderedDict[str, Any] = OrderedDict(
        a=grid, b=grid.T, c=grid[1:, :2], d=torch.zeros(0), e=torch.tensor(3), f=["x", 2, None, {"y": 0.5}]
    )
    what["g"] = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    read = read_inert(saved(tmp_path / "a.pt", what))
    assert list(read) == list(what)
    for key in "abcdeg":
        torch.testing.assert_close(read[key], what[key].detach())
    assert read["f"] == what["f"]


def test_other_objects_are_inert(tmp_path: Path) -> None:
    what = {
        "kept": Kept(),
        "array": np.arange(3),
        "scalar": np.int64(3),
        "kind": Kept,
        "set": {1},
        "tensor": torch.ones(2),
    }
    read = read_inert(saved(tmp_path / "a.pt", what))
    assert [type(read[key]) for key in ("kept", "array", "scalar")] == [Inert] * 3
    assert read["kind"] is Inert
    assert read["tensor"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_nothing_runs(tmp_path: Path, protocol: int) -> None:
    ran, path = tmp_path / "ran", tmp_path / "a.pt"
    data = pickle.dumps({"model": Canary(ran), "n": 3}, protocol)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", data)
    assert read_inert(path)["n"] == 3
    assert not ran.exists()
    pickle.loads(data)
    assert ran.exists(), "the canary must sing where code does run"


def with_pickle(path: Path, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", data)
    return path


@pytest.mark.parametrize("data", [b"", b"hello", b"cos\nsystem\n(S'true'\ntR", b"\x80\x02."])
def test_what_is_no_pickle_of_values_is_one_line(tmp_path: Path, data: bytes) -> None:
    path = with_pickle(tmp_path / "a.pt", data)
    with pytest.raises(ModelError, match="damaged") as caught:
        read_inert(path)
    assert "\n" not in str(caught.value)


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"a": torch.zeros(1).expand(2**40)})
    with pytest.raises(ModelError, match="more values than the file holds"):
        read_inert(path)


@pytest.mark.parametrize("place", range(12))
def test_a_cut_file_is_one_line(tmp_path: Path, place: int) -> None:
    path: Any = saved(tmp_path / "a.pt", {"a": torch.arange(40.0)})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * place // 12])
    with pytest.raises(ModelError) as caught:
        read_inert(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        read_inert(tmp_path / "a.pt")
