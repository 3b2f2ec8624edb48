"""What formats share about answers: the named classes of each image in order, what a caller left out, and the way back.

A reply lists names and numbers and cannot tell a short list of the top k from one that a threshold cut. Where the
service is ours, its header `simkit-answer` says which (the codec of `oracles.answers.encode`), so that the caller gets
the very answer. Elsewhere the answer is what the list proves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oracles.answers import MISSING, Answer, FloatArray, Labels, Scores, TopK, codec_of
from oracles.restrict import MAX_DECIMALS, KeepTopK, Thresholded
from oracles.wire.contract import HttpReply, Interface, Problem, Question

ANSWER_HEADER = "simkit-answer"
"""Kind of the answer: `scores/C/floor`, `topk/C/k/floor` or `labels/C`."""

Row: TypeAlias = Sequence[tuple[str, float | None]]
"""The classes that are named for one image, by name, each with its score in [0, 1], None in a label-only answer."""

_SLACK = 1e-6
"""How far beyond [0, 1] a score may lie: services compute in float32."""


def limited(answer: Answer, question: Question) -> Answer:
    """The answer with at most `question.top` classes, none of a score below `question.minimum`; labels as they are."""
    if isinstance(answer, Labels):
        return answer
    if question.minimum > 0.0:
        answer = Thresholded.apply(answer, question.minimum)
    if question.top is not None and question.top < answer.n_classes:
        answer = KeepTopK.apply(answer, question.top)
    return answer


def rows_of(answer: Answer, interface: Interface) -> list[list[tuple[str, float | None]]]:
    """The named classes of each image, the most probable first; ties go to the lowest class id.

    A class whose score of 0 only means "below the floor" is left out.
    """
    names = interface.classes
    if isinstance(answer, Labels):
        return [[(names[label], None)] if label != MISSING else [] for label in answer.labels.tolist()]
    top = KeepTopK.apply(answer, answer.n_classes)
    ids, values = top.classes.tolist(), _shortest(top.values).tolist()
    pairs = (zip(of_ids, of_values, strict=True) for of_ids, of_values in zip(ids, values, strict=True))
    return [[(names[id], value) for id, value in row if id != MISSING] for row in pairs]


def _shortest(values: FloatArray) -> NDArray[np.float64]:
    """The scores as float64; a rounded one has only the digits that it was rounded to. Each is the same float32."""
    exact = values.astype(np.float64)
    short = np.round(exact, MAX_DECIMALS)
    return np.where(short.astype(np.float32) == values, short, exact)


def answer_header(answer: Answer) -> dict[str, str]:
    """The header that tells a caller of ours which kind of answer its list stands for."""
    return {ANSWER_HEADER: codec_of(answer)}


def answer_of(rows: Sequence[Row], reply: HttpReply, interface: Interface) -> Answer:
    """The answer in the lists of a reply, one per image, each in the order of the service.

    With `simkit-answer` it is the answer that was sent. Without: labels where no class has a score; scores where every
    list names every class; else the top classes, with a floor that is as low as the lists prove. Raises Problem
    (`failed`) on an unknown or repeated name and on a score that is none.
    """
    ids = {name: id for id, name in enumerate(interface.classes)}
    read = [_read(row, ids) for row in rows]
    header = reply.headers.get(ANSWER_HEADER)
    return _proven(read, len(ids)) if header is None else _stated(read, header, len(ids))


_Read: TypeAlias = tuple[list[int], list[float], bool]
"""Class ids, scores (0 for none) and whether there are scores."""


def _read(row: Row, ids: dict[str, int]) -> _Read:
    classes: list[int] = []
    values: list[float] = []
    for name, score in row:
        id = ids.get(name)
        if id is None:
            raise Problem("failed", f"the service named the class {name[:60]!r}, which is not among those stated")
        classes.append(id)
        values.append(0.0 if score is None else _checked(score))
    if len(set(classes)) < len(classes):
        raise Problem("failed", "the service named a class twice for one image")
    scored = sum(score is not None for _, score in row)
    if 0 < scored < len(row):
        raise Problem("failed", "the service gave scores for some classes of an image and none for others")
    return classes, values, scored > 0 or not row


def _checked(score: float) -> float:
    if not -_SLACK <= score <= 1.0 + _SLACK:
        said = (
            f"of {score:g}" if not abs(score) >= 1e9 else "of a billion or more"
        )  # a long integer cannot be formatted so
        raise Problem("failed", f"the service answered a score {said}, which is no probability")
    return min(max(score, 0.0), 1.0)


def _proven(rows: Sequence[_Read], n_classes: int) -> Answer:
    """What the lists prove. A list without an entry proves nothing about scores: its floor is 1."""
    if all(not scored and len(classes) == 1 for classes, _, scored in rows):
        return Labels(np.array([classes[0] for classes, _, _ in rows], np.int32), n_classes)
    if not all(scored for _, _, scored in rows):
        raise Problem("failed", "the service gave several labels of an image without scores")
    most = max(1, *(len(classes) for classes, _, _ in rows))
    if all(len(classes) == n_classes for classes, _, _ in rows):
        return _scores(rows, n_classes, 0.0)
    short = [min(values, default=1.0) for classes, values, _ in rows if len(classes) < most or not classes]
    ordered = [_ordered(classes, values) for classes, values, _ in rows]
    return _top_k(ordered, most, n_classes, float(np.float32(max(short, default=0.0))))


def _ordered(classes: list[int], values: list[float]) -> _Read:
    order = sorted(range(len(values)), key=lambda at: -values[at])
    return [classes[at] for at in order], [values[at] for at in order], True


def _stated(rows: Sequence[_Read], header: str, n_classes: int) -> Answer:
    kind, *numbers = header.split("/")
    longest = max(len(classes) for classes, _, _ in rows)
    if kind == "labels" and numbers == [str(n_classes)] and longest <= 1:
        return Labels(np.array([(classes or [MISSING])[0] for classes, _, _ in rows], np.int32), n_classes)
    floor = _number(numbers[-1]) if numbers else None
    if floor is not None and numbers[0] == str(n_classes) and all(scored for _, _, scored in rows):
        if kind == "scores" and len(numbers) == 2 and (floor > 0.0 or min(len(r[0]) for r in rows) == n_classes):
            return _scores(rows, n_classes, floor)
        k = int(numbers[1]) if kind == "topk" and len(numbers) == 3 and numbers[1].isdecimal() else 0
        if 1 <= k <= n_classes and longest <= k:
            return _top_k(rows, k, n_classes, floor)
    raise Problem("failed", f"the service's answer is not of the kind that it states, {header[:60]!r}")


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0.0 else None


def _scores(rows: Sequence[_Read], n_classes: int, floor: float) -> Scores:
    scores = np.zeros((len(rows), n_classes), np.float32)
    for at, (classes, values, _) in enumerate(rows):
        scores[at, classes] = values
    return Scores(scores, floor)


def _top_k(rows: Sequence[_Read], k: int, n_classes: int, floor: float) -> TopK:
    ids, scores = np.full((len(rows), k), MISSING, np.int32), np.zeros((len(rows), k), np.float32)
    for at, (classes, values, _) in enumerate(rows):
        ids[at, : len(classes)], scores[at, : len(classes)] = classes, values
    return TopK(ids, scores, n_classes, floor)


def entries_of(row: Row, name: str, score: str, scale: float = 1.0) -> list[dict[str, Any]]:
    """The row as objects with the members `name` and `score`, which is null in a label-only answer."""
    return [{name: label, score: None if value is None else scale * value} for label, value in row]


def row_of(entries: object, name: str, score: str, scale: float = 1.0) -> Row:
    """The row in a list of objects; the inverse of `entries_of`. Raises Problem (`failed`) if it is no such list."""
    if not isinstance(entries, list):
        raise Problem("failed", "the service's answer has no list of classes")
    row: list[tuple[str, float | None]] = []
    for entry in entries:
        label, value = (entry.get(name), entry.get(score)) if isinstance(entry, dict) else (None, None)
        if not isinstance(label, str) or isinstance(value, bool) or not isinstance(value, int | float | None):
            raise Problem("failed", f"the service's answer has a class without a {name!r} and a number as {score!r}")
        row.append((label, None if value is None else scaled(value, scale)))
    return row


def scaled(value: float, scale: float) -> float:
    """`value / scale`; infinity for an integer that no float can hold, which no JSON parser refuses."""
    try:
        return value / scale
    except OverflowError:
        return math.inf
