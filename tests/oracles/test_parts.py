"""Answers to the parts of one call become one answer, whatever each part names."""

from __future__ import annotations

import numpy as np
import pytest

from oracles.answers import MISSING, Answer, Labels, Scores, TopK, encode
from oracles.errors import ModelError
from oracles.parts import merged, one_answer
from oracles.wire.contract import HttpReply, Interface
from oracles.wire.scores import Row, answer_of

ABOUT = Interface("m", (1, 2, 2), ("ant", "bee", "cat", "dog"))
SCORES = Scores(np.array([[0.1, 0.5, 0.0, 0.4], [0.25, 0.25, 0.25, 0.25]], np.float32))
TOP = TopK(np.array([[1, 3], [2, MISSING]], np.int32), np.array([[0.5, 0.4], [0.9, 0.0]], np.float32), 4, 0.05)
LABELS = Labels(np.array([2, MISSING], np.int32), 4)


def proven(*rows: Row) -> Answer:
    return answer_of(rows, HttpReply(200), ABOUT)


def test_parts_of_one_batch_are_merged() -> None:
    one, three = proven([("ant", 0.6)]), proven([("ant", 0.5), ("bee", 0.3), ("cat", 0.1)])
    joined = merged([one, three, proven([])])
    assert isinstance(joined, TopK)
    assert joined.classes.tolist() == [[0, MISSING, MISSING], [0, 1, 2], [MISSING] * 3]
    assert joined.floor == 1.0  # of the empty list nothing is known
    two = merged([one, three])
    assert isinstance(two, TopK)
    assert two.floor == pytest.approx(0.6)


@pytest.mark.parametrize("answer", [SCORES, Scores(SCORES.values, 0.05), TOP, LABELS], ids=lambda a: encode(a)[0])
def test_parts_of_one_kind_are_simply_joined(answer: Answer) -> None:
    codec, data = encode(answer)
    assert encode(merged([answer, answer])) == (codec, data + data)


def test_a_full_list_beside_a_short_one_is_a_top_k() -> None:
    joined = merged([proven([(name, 0.25) for name in ABOUT.classes]), proven([("dog", 0.5)])])
    assert isinstance(joined, TopK)
    assert joined.classes.tolist() == [[0, 1, 2, 3], [3, MISSING, MISSING, MISSING]]
    assert joined.floor == 0.5


def test_labels_and_scores_do_not_mix() -> None:
    label = proven([("ant", None)])
    with pytest.raises(ModelError, match="labels only"):
        merged([label, proven([("ant", 0.5)])])
    assert encode(merged([label, proven([])])) == encode(Labels(np.array([0, MISSING], np.int32), 4))


@pytest.mark.parametrize("parts", [[SCORES, SCORES], [TOP, TOP, TOP], [LABELS], [proven([("ant", 0.6)]), SCORES, TOP]])
def test_in_whatever_groups_parts_are_joined_the_answer_is_the_same(parts: list[Answer]) -> None:
    whole = one_answer(parts)
    for cut in range(1, len(parts)):
        assert encode(one_answer([one_answer(parts[:cut]), one_answer(parts[cut:])])) == encode(whole)
