from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal

from oracles.answers import MISSING, Answer, Labels, Scores, TopK, decode, encode, is_finite, top_label, top_score

floors = st.floats(0.0, 1.0)
any_float = st.floats(width=32, allow_nan=True, allow_infinity=True)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    rows, n_classes = draw(st.integers(1, 5)), draw(st.integers(2, 6))
    ids = st.integers(MISSING, n_classes - 1)
    kind = draw(st.sampled_from(["scores", "topk", "labels"]))
    if kind == "labels":
        return Labels(draw(arrays(np.int32, rows, elements=ids)), n_classes)
    if kind == "scores":
        return Scores(draw(arrays(np.float32, (rows, n_classes), elements=any_float)), draw(floors))
    k = draw(st.integers(1, n_classes))
    classes = draw(arrays(np.int32, (rows, k), elements=ids))
    return TopK(classes, draw(arrays(np.float32, (rows, k), elements=any_float)), n_classes, draw(floors))


@given(answers())
def test_decode_gives_back_every_bit(answer: Answer) -> None:
    codec, data = encode(answer)
    again = decode(codec, data)
    assert type(again) is type(answer)
    assert (len(again), again.n_classes) == (len(answer), answer.n_classes)
    for name, value in vars(answer).items():
        actual = getattr(again, name)
        if isinstance(value, np.ndarray):
            assert actual.dtype == value.dtype
            assert actual.tobytes() == value.tobytes()
        else:
            assert actual == value


@given(answers())
def test_records_are_equally_long_so_that_rows_can_be_cut(answer: Answer) -> None:
    codec, data = encode(answer)
    size, rest = divmod(len(data), len(answer))
    assert rest == 0
    assert_array_equal(top_label(decode(codec, data[:size])), top_label(answer)[:1])


def test_bytes_are_little_endian_on_every_machine() -> None:
    assert encode(Labels(np.array([1, MISSING], dtype=np.int32), 4)) == ("labels/4", b"\x01\x00\xff\xff")
    assert encode(Scores(np.array([[1.0, 0.0]], dtype=np.float32)))[1] == b"\x00\x00\x80\x3f" + bytes(4)


@pytest.mark.parametrize("n_classes", [2**15, 2**15 + 1, 50_000])
def test_more_classes_than_two_bytes_count(n_classes: int) -> None:
    ids = np.array([[n_classes - 1, MISSING], [0, n_classes - 1]], dtype=np.int32)
    labels = decode(*encode(Labels(ids[0], n_classes)))
    top = decode(*encode(TopK(ids, np.ones((2, 2), dtype=np.float32), n_classes)))
    assert isinstance(labels, Labels)
    assert isinstance(top, TopK)
    assert_array_equal(labels.labels, ids[0])
    assert_array_equal(top.classes, ids)


def test_a_floor_of_another_float_type_is_written_as_a_number() -> None:
    values = np.ones((1, 3), dtype=np.float32)
    assert encode(Scores(values, np.float64(0.1)))[0] == "scores/3/0.1"
    assert encode(TopK(np.zeros((1, 3), dtype=np.int32), values, 3, np.float64(0.1)))[0] == "topk/3/3/0.1"


@pytest.mark.parametrize("codec", ["", "scores", "scores/3", "topk/3/1", "labels/3/0.0", "png/3"])
def test_an_unknown_codec(codec: str) -> None:
    with pytest.raises(ValueError, match="unknown answer codec"):
        decode(codec, b"")


@pytest.mark.parametrize("codec", ["scores/3/0.0", "topk/3/2/0.0", "labels/3"])
def test_a_wrong_length(codec: str) -> None:
    with pytest.raises(ValueError, match="size"):
        decode(codec, bytes(13))


def test_top_label_and_score_of_each_kind() -> None:
    scores = Scores(np.array([[0.2, 0.5, 0.3], [0.0, 0.0, 0.0]], dtype=np.float32), floor=0.1)
    top = TopK(np.array([[1, 2], [MISSING, MISSING]], dtype=np.int32), scores.values[:, 1:], 3, 0.1)
    labels = Labels(np.array([1, MISSING], dtype=np.int32), 3)
    for answer in (scores, top, labels):
        assert_array_equal(top_label(answer), [1, MISSING])
        assert top_label(answer).dtype == np.int32
    for observed in (scores, top):
        assert_array_equal(top_score(observed), np.array([0.5, 0.0], dtype=np.float32))
    assert top_score(labels) is None


def test_is_finite_sees_one_bad_number() -> None:
    values = np.full((3, 2), 0.5, dtype=np.float32)
    assert is_finite(Scores(values))
    assert is_finite(Labels(np.zeros(2, dtype=np.int32), 2))
    for bad in (np.nan, np.inf):
        spoiled = values.copy()
        spoiled[2, 1] = bad
        assert not is_finite(Scores(spoiled))
        assert not is_finite(TopK(np.zeros((3, 2), dtype=np.int32), spoiled, 2))
