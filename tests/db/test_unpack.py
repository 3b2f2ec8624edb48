"""The codecs as `oracles.answers` writes them: `db` may not import it, so that the two are held together here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.unpack import unpack
from oracles.answers import MISSING, Labels, Scores, TopK, encode

FLOATS = st.integers(0, 2**32 - 1)


def scores(queries: int, classes: int, seed: int) -> Scores:
    """Any bits at all: subnormal numbers and NaN too."""
    bits = np.random.default_rng(seed).integers(0, 2**32, (queries, classes), dtype=np.uint32)
    return Scores(bits.view(np.float32))


@given(st.integers(1, 9), st.integers(1, 12), FLOATS)
def test_scores_come_back_bit_for_bit(queries: int, classes: int, seed: int) -> None:
    answer = scores(queries, classes, seed)
    actual = unpack(*encode(answer))
    assert (actual.n_classes, actual.classes) == (classes, None)
    assert actual.scores is not None
    assert actual.scores.tobytes() == answer.values.tobytes()
    assert actual.dense() is actual.scores


@pytest.mark.parametrize("classes", [5, 40_000])
def test_the_best_k_come_back_and_spread_over_the_classes(classes: int) -> None:
    observed = np.array([[4, 1], [classes - 1, MISSING]], np.int32)
    values = np.array([[0.7, 0.2], [0.5, 0.0]], np.float32)
    actual = unpack(*encode(TopK(observed, values, classes)))
    np.testing.assert_array_equal(actual.classes, observed)
    np.testing.assert_array_equal(actual.scores, values)
    dense = actual.dense()
    assert dense is not None
    assert dense.shape == (2, classes)
    assert [dense[0, 4], dense[0, 1], dense[1, classes - 1]] == [values[0, 0], values[0, 1], values[1, 0]]
    assert np.isfinite(dense).sum() == 3


@pytest.mark.parametrize("classes", [3, 40_000])
def test_labels_come_back_without_scores(classes: int) -> None:
    labels = np.array([2, MISSING, classes - 1], np.int32)
    actual = unpack(*encode(Labels(labels, classes)))
    assert actual.classes is not None
    np.testing.assert_array_equal(actual.classes[:, 0], labels)
    assert (actual.n_classes, actual.scores, actual.dense()) == (classes, None, None)


@pytest.mark.parametrize("codec", ["", "scores", "scores/2", "scores/x/0.0", "topk/3/1", "logits/3/0.0", "labels/3/4"])
def test_another_codec_is_refused(codec: str) -> None:
    with pytest.raises(ValueError, match="damaged, or written by a newer simkit"):
        unpack(codec, bytes(24))


def test_a_length_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="13 bytes of answers"):
        unpack("scores/3/0.0", bytes(13))
