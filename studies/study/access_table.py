"""The slides' accessibility table: what each detector and each repair may reach, from the types alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import nn

from oracles.oracle import Oracle
from simkit.data import ImageSet
from simkit.detectors.access import TrainingSet, held, stated_access
from simkit.detectors.registry import REPAIRS
from simkit.references import referred
from studies.study.detectors import Method

Gives: TypeAlias = Literal["verdict", "model"]


@dataclass(frozen=True)
class AccessRow:
    """One detector or repair.

    names: on the command line, several for several schedules. access: the name of its access type. stage: `training`
    for what takes the training images or trains the model, as the slides count it, otherwise `inference`. gives: a
    verdict, or a repaired model. The flags state what it can reach.
    """

    title: str
    names: tuple[str, ...]
    access: str
    stage: Literal["training", "inference"]
    gives: Gives
    weights: bool
    training_data: bool
    clean_data: bool
    queries: bool


def access_rows(methods: Iterable[Method]) -> list[AccessRow]:
    """One row per method, in order; methods whose titles differ only in brackets share a row."""
    families: dict[tuple[str, type], list[Method]] = {}
    for method in methods:
        families.setdefault((method.title.split(" (")[0], method.access), []).append(method)
    return [_row(title, access, [m.name for m in found], "verdict") for (title, access), found in families.items()]


def repair_rows() -> list[AccessRow]:
    """One row per repair that comes with simkit."""
    stated = {name: stated_access(referred(str(entry.made)).repair) for name, entry in REPAIRS.items()}
    return [_row(REPAIRS[name].title, access, [name], "model") for name, access in stated.items() if access is not None]


def _row(title: str, access: type, names: list[str], gives: Gives) -> AccessRow:
    """A row whose flags are the fields of the access type, which is all that a detector can reach."""
    reached = held(access)
    return AccessRow(
        title,
        tuple(names),
        access.__name__,
        "training" if gives == "model" or TrainingSet in reached else "inference",
        gives,
        weights=nn.Module in reached,
        training_data=TrainingSet in reached,
        clean_data=ImageSet in reached,
        queries=Oracle in reached,
    )
