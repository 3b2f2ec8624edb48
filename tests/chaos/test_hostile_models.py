"""Model files that would act: none opens or writes a file, and none ends the process that reads it."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from oracles.errors import ModelError
from oracles.model_files import load_model
from oracles.torch_model import TorchOracle
from simkit.seeding import stream
from tests.chaos.child import CONTEXT
from tests.chaos.hostile_models import Hostile, Parents, changed, operators
from tests.chaos.resume import Lab
from tests.chaos.watch import watched
from tests.oracles.model_files.files import SHAPE, TOLD, save_exported

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify tells who opens files")

CANARY = b"................"
FILES = "files"


def parents(folder: Path) -> Parents:
    save_exported(folder / "plain.pt2")
    return Parents.made((folder / "plain.pt2").read_bytes(), str(folder / "canary" / "canary"))


def read_operators(folder: Path, most: int) -> None:
    """`most` of the files with an operator that is not allowed, spread over all of them."""
    every = list(operators(parents(folder)))
    read(folder, iter(every[:: max(1, len(every) // most)]))


def read_changed(folder: Path, most: int) -> None:
    """`most` archives with changed members, directories and bytes."""
    made, draw = parents(folder), stream(0, "changed archives")
    read(folder, (changed(made, draw) for _ in range(most)))


def read_walled(folder: Path, most: int) -> None:
    """Some of both, read as users read them: in a process that can open nothing."""
    made, draw = parents(folder), stream(0, "walled archives")
    every = list(operators(made))
    read(folder, iter([*every[:: len(every) // most], *(changed(made, draw) for _ in range(most))]), trusted=False)


def read(folder: Path, files: Iterator[Hostile], trusted: bool = True) -> None:
    """Open and ask each file, in a process of its own: a reader may crash. Leaves `counts.json`.

    trusted: the reader is on its own, without the sandbox around it.
    """
    warnings.simplefilter("ignore")
    count = refused = 0
    for count, file in enumerate(files, start=1):
        path = folder / FILES / f"{count}{file.suffix}"
        path.write_bytes(file.data)
        said = refusal(path, trusted)
        assert "\n" not in said
        assert file.names is None or file.names in said, f"{file.names}: {said or 'not refused'}"
        refused += said != ""
        path.unlink()
    (folder / "counts.json").write_text(json.dumps([count, refused]))


def refusal(path: Path, trusted: bool) -> str:
    """What is said against a file when it is loaded or asked; nothing where it is a model."""
    try:
        module = load_model(path, {}, TOLD, trusted=trusted).module
        TorchOracle(module, SHAPE, n_classes=4).query(torch.rand(2, *SHAPE))
    except ModelError as error:
        return str(error)
    return ""


def in_child(folder: Path, act: Callable[..., None], *args: Any) -> tuple[int | None, list[str]]:
    """The exit code of a process that acts, and what it touched in the folder of the canary."""
    for name in ("canary", FILES):
        (folder / name).mkdir()
    (folder / "canary" / "canary").write_bytes(CANARY)
    process = CONTEXT.Process(target=act, args=(folder, *args))
    with watched(folder / "canary") as events:
        process.start()
        process.join()
    return process.exitcode, events


MOST = [(read_operators, 300, 10**6), (read_changed, 200, 3000), (read_walled, 2, 50)]


@pytest.mark.parametrize(("act", "small", "full"), MOST)
def test_no_file_acts_or_ends_the_process(act: Callable[..., None], small: int, full: int, lab: Lab) -> None:
    code, events = in_child(lab.folder, act, lab.sized(small, full))
    assert code == 0
    assert events == []
    assert (lab.folder / "canary" / "canary").read_bytes() == CANARY
    files, refused = json.loads((lab.folder / "counts.json").read_text())
    assert refused > 0
    lab.count("hostile model files", files)
    lab.count("hostile model files refused", refused)
    lab.count("files opened by model files", len(events))


def act_unchecked(folder: Path) -> None:
    """Load the file that acts as torch does, and ask it."""
    (folder / FILES / "a.pt").write_bytes(parents(folder).acting)
    load: Callable[..., Any] = torch.jit.load
    load(folder / FILES / "a.pt")(torch.rand(2, *SHAPE))


def test_the_canary_sings_where_a_file_does_act(tmp_path: Path) -> None:
    code, events = in_child(tmp_path, act_unchecked)
    assert code == 0
    assert "canary" in events
    assert (tmp_path / "canary" / "canary").read_bytes() == bytes(16)
