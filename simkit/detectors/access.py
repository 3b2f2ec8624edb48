"""Access types: what a detector may use. The type checker rejects a detector with an access that does not fit."""

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
    """Query access only. The oracle states image shape and number of classes. limit, steps: see `QueryDataAccess`."""

    oracle: Oracle
    limit: int | None = None
    steps: Steps | None = None


@dataclass(frozen=True, eq=False)
class QueryDataAccess:
    """Query access and some clean images.

    limit: query budget, None if there is no limit. steps: where a detector may record the purpose of its queries;
    without it they are `external` in the ledger.
    """

    oracle: Oracle
    images: ImageSet
    limit: int | None = None
    steps: Steps | None = None


@dataclass(frozen=True, eq=False)
class WeightAccess:
    """White-box access: the model itself and some clean images."""

    model: nn.Module
    images: ImageSet


class Detector(Protocol[AccessT_contra]):
    """Decides whether a model is backdoored. Its settings are the fields of a frozen dataclass."""

    def detect(self, access: AccessT_contra) -> Verdict:
        """The verdict. An exhausted budget or a refusal (Refused) gives `undecided` and raises no error."""
        ...
