"""What the child cannot do, tried by code that runs in it; and what it says where a restriction is not to be had."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch

from oracles.errors import ModelError
from oracles.model_files.kinds import Graph
from oracles.outside import OutsideFile
from oracles.sandbox import process
from oracles.sandbox.model import SandboxedModel, open_sandboxed
from tests.oracles.sandbox.conftest import before_all
from tests.oracles.sandbox.deeds import deeds

NAMES = list(deeds(Path("x"), 0))
_CPU = torch.device("cpu")


def opened(folder: Path) -> SandboxedModel:
    (folder / "kept").write_text("as it was")
    graph: Graph = open_sandboxed(OutsideFile(Path("model.pt2"), f"{folder}\n{os.getpid()}".encode()), "exported")
    assert isinstance(graph.module, SandboxedModel)
    return graph.module


def refused(model: SandboxedModel, name: str) -> bool:
    answer = model.form(_CPU, torch.float32)(torch.full((1, 1, 1, 1), float(NAMES.index(name))))
    assert isinstance(answer, torch.Tensor)
    return bool(answer[0, 0] == 1.0)


def unharmed(folder: Path) -> bool:
    return os.listdir(folder) == ["kept"] and (folder / "kept").read_text() == "as it was"


@pytest.mark.usefixtures("unchecked")
def test_nothing_can_be_opened_written_started_or_signalled(tmp_path: Path) -> None:
    model = opened(tmp_path)
    assert model.missing == ()
    assert {name for name in NAMES if not refused(model, name)} == set()
    assert unharmed(tmp_path)


@pytest.mark.parametrize(
    ("library", "missing", "left"),
    [
        (
            "seccompy",
            ("seccomp",),
            {"write", "append", "create", "read", "list", "remove", "rename", "truncate", "exec"},
        ),
        ("landlockpy", ("Landlock",), set(NAMES)),
    ],
)
def test_each_wall_stands_alone_and_a_missing_one_is_told(
    library: str, missing: tuple[str, ...], left: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"sys.modules[{library!r}] = None; import tests.oracles.sandbox.deeds"
    monkeypatch.setattr(process, "CODE", before_all(line))
    model = opened(tmp_path)
    assert model.missing == missing
    assert {name for name in sorted(left) if not refused(model, name)} == set()
    assert unharmed(tmp_path)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("number", "told"), [(-1, "SIGSEGV"), (-2, "SIGABRT"), (-3, "exit code 7")], ids=["segv", "abort", "exit"]
)
def test_a_process_that_ends_is_one_line_and_the_parent_lives(number: int, told: str, tmp_path: Path) -> None:
    form = opened(tmp_path).form(_CPU, torch.float32)
    with pytest.raises(ModelError, match=rf"^model.pt2: the model ended its process \({told}\)") as caught:
        form(torch.full((1, 1, 1, 1), float(number)))
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=re.escape(str(caught.value))):
        form(torch.zeros(1, 1, 1, 1))


@pytest.mark.usefixtures("unchecked")
def test_memory_that_grows_without_end_is_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oracles.sandbox.model.memory_cap", lambda: 2**31)
    form = opened(tmp_path).form(_CPU, torch.float32)
    with pytest.raises(RuntimeError, match="allocate memory"):
        form(torch.full((1, 1, 1, 1), -4.0))
    assert form(torch.zeros(1, 1, 1, 1)) is not None
