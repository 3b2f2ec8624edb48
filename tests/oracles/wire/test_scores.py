"""Names and numbers of an answer: what a caller left out, and the way back to the very answer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from oracles.answers import MISSING, Answer, Labels, Scores, TopK, encode
from oracles.wire.contract import HttpReply, Interface, Problem, Question
from oracles.wire.scores import (
    ANSWER_HEADER,
    Row,
    answer_header,
    answer_of,
    entries_of,
    limited,
    row_of,
    rows_of,
)

ABOUT = Interface("m", (1, 2, 2), ("ant", "bee", "cat", "dog"))
IMAGES = np.zeros((1, 1, 2, 2), np.float32)
SCORES = Scores(np.array([[0.1, 0.5, 0.0, 0.4], [0.25, 0.25, 0.25, 0.25]], np.float32))
TOP = TopK(np.array([[1, 3], [2, MISSING]], np.int32), np.array([[0.5, 0.4], [0.9, 0.0]], np.float32), 4, 0.05)
LABELS = Labels(np.array([2, MISSING], np.int32), 4)
PLAIN = HttpReply(200)


def same(one: Answer, other: Answer) -> bool:
    return encode(one) == encode(other)


def back(answer: Answer) -> Answer:
    return answer_of(rows_of(answer, ABOUT), HttpReply(200, answer_header(answer)), ABOUT)


def proven(*rows: Row) -> Answer:
    return answer_of(rows, PLAIN, ABOUT)


def failed(*rows: Row, header: str | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        answer_of(rows, HttpReply(200, {} if header is None else {ANSWER_HEADER: header}), ABOUT)
    assert caught.value.kind == "failed"
    return caught.value


def test_known_rows() -> None:
    assert rows_of(SCORES, ABOUT)[0] == [("bee", 0.5), ("dog", 0.4), ("ant", 0.1), ("cat", 0.0)]
    assert [name for name, _ in rows_of(SCORES, ABOUT)[1]] == ["ant", "bee", "cat", "dog"]  # ties: the lowest id
    assert rows_of(TOP, ABOUT) == [[("bee", 0.5), ("dog", 0.4)], [("cat", 0.9)]]
    assert rows_of(LABELS, ABOUT) == [[("cat", None)], []]
    assert rows_of(dataclasses.replace(SCORES, floor=0.05), ABOUT)[0][-1] == ("ant", 0.1)


@pytest.mark.parametrize("answer", [SCORES, Scores(SCORES.values, 0.05), TOP, LABELS], ids=lambda a: encode(a)[0])
def test_an_answer_comes_back_whole(answer: Answer) -> None:
    assert same(back(answer), answer)


@given(arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32)), st.integers(1, 4), st.floats(0, 1))
def test_every_answer_comes_back_whole(values: np.ndarray, top: int, minimum: float) -> None:
    for question in (Question(IMAGES), Question(IMAGES, top), Question(IMAGES, top, minimum), Question(IMAGES, 1)):
        answer = limited(Scores(values), question)
        assert same(back(answer), answer)


@given(arrays(np.float32, (2, 4), elements=st.floats(0, 1, width=32)))
def test_percentages_lose_nothing(values: np.ndarray) -> None:
    rows = rows_of(Scores(values), ABOUT)
    read = [row_of(entries_of(row, "Name", "Confidence", 100.0), "Name", "Confidence", 100.0) for row in rows]
    assert same(answer_of(read, PLAIN, ABOUT), Scores(values))


def test_rounded_scores_have_short_numbers() -> None:
    values = np.array([[0.43, 0.1, 0.07, 0.123456789]], np.float32)
    assert dict(rows_of(Scores(values), ABOUT)[0])["ant"] == 0.43
    assert dict(rows_of(Scores(values), ABOUT)[0])["dog"] == float(np.float32(0.123456789))


def test_limits() -> None:
    question = Question(IMAGES, 2, 0.3)
    assert rows_of(limited(SCORES, question), ABOUT) == [[("bee", 0.5), ("dog", 0.4)], []]
    assert rows_of(limited(TOP, question), ABOUT) == rows_of(TOP, ABOUT)
    cut = limited(TOP, Question(IMAGES, 1, 0.45))
    assert isinstance(cut, TopK)
    assert (cut.classes.tolist(), cut.floor) == ([[1], [2]], 0.05 + 0.45)
    assert limited(LABELS, question) is LABELS
    assert limited(SCORES, Question(IMAGES, len(ABOUT.classes))) is SCORES  # asked for all, it gives its scores


def test_without_the_header_an_answer_is_what_the_lists_prove() -> None:
    everything = [(name, 0.25) for name in reversed(ABOUT.classes)]
    assert same(proven(everything), Scores(np.full((1, 4), 0.25, np.float32)))
    assert same(proven([("dog", None)]), Labels(np.array([3], np.int32), 4))
    two = proven([("ant", 0.3), ("dog", 0.6)])  # unordered, as some services answer
    assert isinstance(two, TopK)
    assert (two.classes.tolist(), two.floor) == ([[3, 0]], 0.0)
    nothing = proven([])
    assert isinstance(nothing, TopK)
    assert (nothing.classes.tolist(), nothing.floor) == ([[MISSING]], 1.0)


def test_a_class_beyond_a_short_list_has_at_most_its_last_score() -> None:
    both = proven([("ant", 0.5), ("bee", 0.3), ("cat", 0.1)], [("dog", 0.75)])
    assert isinstance(both, TopK)
    assert both.classes.tolist() == [[0, 1, 2], [3, MISSING, MISSING]]
    assert both.floor == 0.75


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([("elk", 0.5)], "elk"),
        ([("ant", 0.5), ("ant", 0.1)], "twice"),
        ([("ant", 1.5)], "1.5"),
        ([("ant", -0.1)], "-0.1"),
        ([("ant", float("nan"))], "nan"),
        ([("ant", 0.5), ("bee", None)], "some classes"),
        ([("ant", None), ("bee", None)], "several labels"),
    ],
)
def test_what_is_no_answer_is_a_failure(row: Row, words: str) -> None:
    assert words in failed(row).message


HEADERS = ["", "scores", "scores/4", "scores/5/0.0", "scores/4/0.0", "scores/4/nan", "topk/4/9/0.0", "topk/4/1/0.0"]


@pytest.mark.parametrize("header", [*HEADERS, "topk/4/x/0.0", "topk/4/2/-1", "labels/4", "labels/9", "a/b/c/d"])
def test_a_header_that_the_list_contradicts_is_a_failure(header: str) -> None:
    failed([("ant", 0.5), ("bee", 0.25)], header=header)


@given(st.text(max_size=20))
def test_no_header_raises_anything_but_problem(header: str) -> None:
    failed([("ant", 0.5), ("bee", 0.25)], header=header)


ENTRIES: list[object] = [None, 3, "ant", {}, [3], [{}], [{"label": 3, "score": 0.5}], [{"label": "ant", "score": True}]]


@pytest.mark.parametrize("entries", [*ENTRIES, [{"label": "ant", "score": "0.5"}], [[{"label": "ant"}]]], ids=repr)
def test_entries_of_other_forms_are_a_failure(entries: object) -> None:
    with pytest.raises(Problem, match="answer"):
        row_of(entries, "label", "score")


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e300, 2, -1])
def test_numbers_that_are_no_probability_are_a_failure(value: float) -> None:
    for rows in ([row_of([{"n": "ant", "s": value}], "n", "s", 1.0)], [[("ant", value)]]):
        with pytest.raises(Problem, match="no probability"):
            answer_of(rows, HttpReply(200), ABOUT)
