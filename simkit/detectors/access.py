"""What a detector may reach, as types: a detector and an access that do not fit are refused by the type checker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import nn

from oracles.meter import Steps
from oracles.oracle import Oracle
from simkit.data import ImageSet
from simkit.verdict import Verdict

AccessT_contra = TypeVar("AccessT_contra", contravariant=True)


@dataclass(frozen=True, eq=False)
class QueryAccess:
    """Queries alone; the oracle states the shape of its images and how many classes it has. limit, steps: see below."""

    oracle: Oracle
    limit: int | None = None
    steps: Steps | None = None


@dataclass(frozen=True, eq=False)
class QueryDataAccess:
    """Queries, and some clean images.

    limit: queries that may be asked, None where nobody says. steps: where a detector says what it asks for; it need
    not, and then its queries are `external` in the ledger.
    """

    oracle: Oracle
    images: ImageSet
    limit: int | None = None
    steps: Steps | None = None


@dataclass(frozen=True, eq=False)
class WeightAccess:
    """The model itself, and some clean images: a white box."""

    model: nn.Module
    images: ImageSet


class Detector(Protocol[AccessT_contra]):
    """Tells a backdoored model from a clean one; its settings are the fields of a frozen dataclass."""

    def detect(self, access: AccessT_contra) -> Verdict:
        """The verdict; running out of queries, or being refused (Refused), is `undecided`, no failure."""
        ...
