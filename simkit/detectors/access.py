"""Access types: what a detector may use. The type checker rejects a detector with an access that does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar, get_type_hints

from torch import nn

from oracles.meter import Steps
from oracles.oracle import Oracle
from simkit.data import ImageSet, ImageShape
from simkit.errors import ConfigError, DataError
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
    """White-box access: the model itself and some clean images. Raises ConfigError if the model is no torch module."""

    model: nn.Module
    images: ImageSet

    def __post_init__(self) -> None:
        _check_model(self.model, WeightAccess)


@dataclass(frozen=True, eq=False)
class ModelAccess:
    """White-box access without data: the model itself, and the shape (C, H, W) of its images. Raises ConfigError."""

    model: nn.Module
    image_shape: ImageShape

    def __post_init__(self) -> None:
        _check_model(self.model, ModelAccess)


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """The images that a model was trained on, with the labels that it was trained with; some may be poisoned.

    A type of its own, so that clean images and these cannot be mistaken for each other. Raises DataError if a label is
    unknown.
    """

    images: ImageSet

    def __post_init__(self) -> None:
        if not self.images.labelled:
            raise DataError(
                f"{self.images.name}: some images have no label; give those that the model was trained with"
            )


@dataclass(frozen=True, eq=False)
class TrainingDataAccess:
    """White-box access during training: the model itself and its possibly poisoned training images.

    Raises ConfigError if the model is no torch module.
    """

    model: nn.Module
    training: TrainingSet

    def __post_init__(self) -> None:
        _check_model(self.model, TrainingDataAccess)


def _check_model(model: object, access: type) -> None:
    """Raise ConfigError for an oracle, which answers queries only, and for anything else that has no weights."""
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise ConfigError(f"{access.__name__} holds the model itself, a torch module, and a {kind} has no weights")


ACCESS_TYPES: tuple[type, ...] = (QueryAccess, QueryDataAccess, WeightAccess, ModelAccess, TrainingDataAccess)
"""Every access type, in the order of messages."""


def stated_access(method: Callable[..., Any]) -> type | None:
    """The access type in the signature of a method `detect` or `repair`; None if its first argument states none.

    None too if it is no function of Python, or if its annotations cannot be evaluated.
    """
    try:
        taken = next(iter(get_type_hints(method).values()), None)
    except Exception:  # a built-in, a partial, a name for type checkers only: annotations may be anything
        return None
    return next((kind for kind in ACCESS_TYPES if kind is taken), None)


def check_access(access: object, kind: type) -> None:
    """Raise ConfigError unless `access` is of this access type, for callers that no type checker has looked at."""
    if not isinstance(access, kind):
        holds = " and ".join(field.name for field in fields(kind))
        raise ConfigError(f"a {kind.__name__} is needed, which holds {holds}, and not a {type(access).__name__}")


def held(access: type) -> frozenset[Any]:
    """The types of the fields of an access type, which are all that a detector can reach."""
    hints = get_type_hints(access)
    return frozenset(hints[field.name] for field in fields(access))


class Detector(Protocol[AccessT_contra]):
    """Decides whether a model is backdoored. Its settings are the fields of a frozen dataclass."""

    def detect(self, access: AccessT_contra) -> Verdict:
        """The verdict. An exhausted budget or a refusal (Refused) gives `undecided` and raises no error."""
        ...
