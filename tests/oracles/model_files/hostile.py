"""TorchScript files that act: each is made by torch.jit.save, or from such a file by a change of its members."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable

import torch
from torch import nn


def script(module: nn.Module) -> bytes:
    """The archive of a scripted module."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module), stream)
    return stream.getvalue()


def rewritten(data: bytes, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> bytes:
    """A copy of an archive, with what `change` makes of each member, by its name below the root."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        warnings.simplefilter("ignore")  # of zipfile, about names that are there twice
        for full in old.namelist():
            root, _, name = full.partition("/")
            for other, held in change(name, old.read(full)):
                new.writestr(f"{root}/{other}", held)
    return stream.getvalue()


def code_replaced(data: bytes, old: str, new: str) -> bytes:
    """A copy of an archive with other text in its code; `old` must be there."""
    found = 0

    def change(name: str, held: bytes) -> list[tuple[str, bytes]]:
        nonlocal found
        if not name.endswith(".py"):
            return [(name, held)]
        found += held.count(old.encode())
        return [(name, held.replace(old.encode(), new.encode()))]

    changed = rewritten(data, change)
    assert found, f"{old!r} is not in the code"
    return changed


class Linear(nn.Linear):
    """A class of these tests alone: torch renames one that this process has scripted with other sizes before."""


class Plain(nn.Module):
    """One layer, and a branch, a loop and a helper function, so that there is something to hide in."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = Linear(192, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.fc(x.flatten(1))
        if rows.shape[0] > 3:
            for step in range(2):
                rows = nn.functional.relu(rows + step)
        return rows
