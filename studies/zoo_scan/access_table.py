"""What each detector may reach, read off the type of access that it takes: the slides' accessibility table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import get_type_hints

from torch import nn

from oracles.oracle import Oracle
from simkit.data import ImageSet
from studies.zoo_scan.methods import Method


@dataclass(frozen=True)
class AccessRow:
    """One detector. names: on the command line, where it has more than one schedule. The flags: what it may reach."""

    title: str
    names: tuple[str, ...]
    access: str
    weights: bool
    clean_data: bool
    queries: bool


def access_rows(methods: Iterable[Method]) -> list[AccessRow]:
    """A row a method, in order; those of one title but for what stands in brackets share a row."""
    families: dict[tuple[str, type], list[Method]] = {}
    for method in methods:
        families.setdefault((method.title.split(" (")[0], method.access), []).append(method)
    return [_row(title, access, [m.name for m in of_family]) for (title, access), of_family in families.items()]


def _row(title: str, access: type, names: list[str]) -> AccessRow:
    """The flags are the fields of the access type: what is not in it, a detector cannot reach."""
    hints = get_type_hints(access)
    held = {hints[field.name] for field in fields(access)}
    return AccessRow(title, tuple(names), access.__name__, nn.Module in held, ImageSet in held, Oracle in held)
