"""What a detector answers, or raises, is checked here before anything of it is stored."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, get_args

from db.errors import StorageError
from oracles.errors import OracleError, one_line
from oracles.oracle import ImageShape
from simkit.errors import ContractError, SimkitError
from simkit.verdict import ClassResult, Kind, Stopped, Verdict
from studies.scan.user_code import is_simkits, qualified_name

_ROUNDING = 1e-6
"""How far a rate may lie from that of a whole number of hits, as in `db.check`: single precision rounds it by less."""


def verdict_of(
    detector: object, decide: Callable[[], object], n_classes: Callable[[], int], shape: ImageShape
) -> Verdict:
    """The verdict that `decide` returns for the detector, which messages name.

    n_classes: called after it, since a service may tell it with its first answer. Raises ContractError for anything
    but a sound verdict, and for an error of a user's own detector, unless it is one of simkit's.
    """
    name = qualified_name(detector)
    try:
        verdict = decide()
    except (SimkitError, OracleError, StorageError):
        raise
    except Exception as error:
        if is_simkits(type(detector)):
            raise
        raise ContractError(f"{name} failed: {one_line(error)}; SIMKIT_DEBUG=1 shows the traceback") from error
    if not isinstance(verdict, Verdict):
        raise ContractError(f"{name} returned {type(verdict).__name__}; return a Verdict")
    for wrong in _wrong(verdict, n_classes(), shape):
        raise ContractError(f"{name}: {wrong}")
    return _plain(verdict)


def _plain(verdict: Verdict) -> Verdict:
    """The verdict with Python's own numbers in place of numpy's, as a ledger stores them."""

    def number(value: float | None) -> float | None:
        return None if value is None else float(value)

    classes = tuple(
        replace(
            result,
            target_class=int(result.target_class),
            mask_size=float(result.mask_size),
            success_rate=number(result.success_rate),
            censored=bool(result.censored),
            trials=int(result.trials),
        )
        for result in verdict.classes
    )
    score, accuracy = number(verdict.score), number(verdict.clean_accuracy)
    flagged = tuple(map(int, verdict.flagged))
    return replace(verdict, flagged=flagged, score=score, classes=classes, clean_accuracy=accuracy)


def _wrong(verdict: Verdict, n_classes: int, shape: ImageShape) -> Iterator[str]:
    """What contradicts itself, the model or the ledger, in words."""
    yield from _wrong_words(verdict)
    for field in ("flagged", "classes"):
        if not isinstance(getattr(verdict, field), tuple | list):
            yield f"{field} is {getattr(verdict, field)!r}; give a tuple"
    yield from _wrong_classes("is flagged", verdict.flagged, n_classes)
    if not all(isinstance(result, ClassResult) for result in verdict.classes):
        yield "its classes are no ClassResults; give one for each class that has a trigger"
    yield from _wrong_classes("has a result", [result.target_class for result in verdict.classes], n_classes)
    if (verdict.verdict == "backdoored") != bool(verdict.flagged):
        flagged = list(verdict.flagged)
        yield f"{verdict.verdict} with the flagged classes {flagged}; flag classes just when the verdict is backdoored"
    for result in verdict.classes:
        for wrong in _wrong_result(result, shape, flagged=result.target_class in verdict.flagged):
            yield f"class {result.target_class}: {wrong}"


def _wrong_words(verdict: Verdict) -> Iterator[str]:
    for name, words in (("verdict", get_args(Kind)), ("stopped", get_args(Stopped))):
        if getattr(verdict, name) not in words:
            yield f"{name} is {getattr(verdict, name)!r}; choose from {', '.join(words)}"
    if verdict.score is not None and not _is_finite(verdict.score):
        yield f"a score of {verdict.score!r}; give a finite number, or None for none"
    if verdict.clean_accuracy is not None and not _is_share(verdict.clean_accuracy):
        yield f"a clean accuracy of {verdict.clean_accuracy!r}; give a share from 0 to 1, or None"
    if not isinstance(verdict.notes, str):
        yield f"its notes are {type(verdict.notes).__name__}; give text"


def _wrong_classes(what: str, classes: Any, n_classes: int) -> Iterator[str]:
    """classes: the classes of which `what` is said."""
    for number in classes:
        if not isinstance(number, Integral) or not 0 <= int(number) < n_classes:
            yield f"class {number!r} {what}, but the classes are 0 to {n_classes - 1}"
    for number, times in Counter(map(int, classes)).items():
        if times > 1:
            yield f"class {number} {what} {times} times; name each class once"


def _wrong_result(result: ClassResult, shape: ImageShape, *, flagged: bool) -> Iterator[str]:
    of = getattr(result.trigger, "image_shape", None)
    if of is None:
        yield f"its trigger is {type(result.trigger).__name__}; give a Trigger, a Wave or another transform"
    elif not isinstance(of, tuple | list) or tuple(of) != tuple(shape):
        theirs, ours = (
            f"({', '.join(map(str, one))})" if isinstance(one, tuple | list) else one for one in (of, shape)
        )
        yield f"its trigger is for images {theirs}, but the images are {ours}"
    if flagged and result.censored:
        yield "is flagged, but its result is censored, which says that no trigger worked; do either"
    if not _is_finite(result.mask_size) or result.mask_size < 0:
        yield f"a mask size of {result.mask_size!r}; give the pixels that the trigger changes"
    if not isinstance(result.trials, Integral) or result.trials < 0:
        yield f"{result.trials!r} trials; give the number of unseen images, or 0"
    elif result.success_rate is not None and not _is_share(result.success_rate):
        yield f"a success rate of {result.success_rate!r}; give a share from 0 to 1, or None"
    else:
        hits = (result.success_rate or 0.0) * result.trials
        if abs(hits - round(hits)) > _ROUNDING * max(result.trials, 1):
            rate = f"a success rate of {result.success_rate} in {result.trials} trials"
            yield f"{rate} is {hits:g} hits; give the number of trials behind the rate"


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False


def _is_share(value: object) -> bool:
    return isinstance(value, Real) and 0.0 <= float(value) <= 1.0
