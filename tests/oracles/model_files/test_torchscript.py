from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from oracles.model_files.torchscript import read_torchscript
from tests.oracles.model_files.files import refusal, save_torchscript

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CANARY = "CANARY"
"""The file that the scripts below write, in the current folder: TorchScript knows no variables of Python's."""


class Saving(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, "CANARY")
        return x.mean(dim=(2, 3))


class Mapping(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3)) + torch.from_file("CANARY", shared=True, size=30).sum()


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.ReLU(), Saving())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.inner(x)
        return rows


@pytest.mark.parametrize("model", [Saving(), Mapping(), Nested()])
def test_code_that_opens_files_is_refused_before_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: nn.Module
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pt"
    torch.jit.save(torch.jit.script(model), path)
    assert re.search(r"\.(Saving|Mapping)\.forward calls aten::(save|from_file), which is not among", refusal(path))
    assert not (tmp_path / CANARY).exists()
    load: Callable[..., nn.Module] = torch.jit.load
    load(path)(torch.rand(1, 3, 4, 4))
    assert (tmp_path / CANARY).exists(), "the canary must sing where code does run"


class Beyond(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = torch.ops.aten._reshape_alias(x, [100000], [1])
        return rows


def test_code_that_reads_beyond_its_tensors_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(Beyond()), tmp_path / "a.pt")
    assert "Beyond.forward calls aten::_reshape_alias" in refusal(tmp_path / "a.pt")


def test_code_that_runs_at_loading_is_refused(tmp_path: Path) -> None:
    save_torchscript(tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as old, zipfile.ZipFile(tmp_path / "a.pt", "w") as new:
        for name in old.namelist():
            more = (
                b"\n  def __setstate__(self, state: Tensor) -> None:\n    return None\n"
                if name.endswith(".py")
                else b""
            )
            new.writestr(name, old.read(name) + more)
    assert "while being loaded" in refusal(tmp_path / "a.pt")


def test_a_plain_model_is_loaded(tmp_path: Path) -> None:
    save_torchscript(tmp_path / "a.pt")
    path = tmp_path / "a.pt"
    assert read_torchscript(path, path.read_bytes())(torch.rand(2, 3, 8, 8)).shape == (2, 4)
