"""Whatever is recorded is what the ledger gives back: in the calls, and row by row in the view."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from db import reads
from db.check import check
from db.errors import StorageError
from db.ledger import Ledger
from db.records import FloatArray, IntArray, RunInfo, check_json, checksum, pack_rows, unpack_rows
from oracles.answers import Answer, Labels, Scores, TopK, encode, top_label, top_score

INFO = RunInfo("e" * 64, "m", "h", "d", "h", "{}", "{}", 1, None, "{}")
CLASSES = 5


def _values(queries: int, width: int) -> st.SearchStrategy[FloatArray]:
    return arrays(np.float32, (queries, width), elements=st.floats(0, 1, width=32) | st.just(float("nan")))


def _classes(queries: int, width: int) -> st.SearchStrategy[IntArray]:
    return arrays(np.int32, (queries, width), elements=st.integers(-1, CLASSES - 1))


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    queries, kind = draw(st.integers(1, 6)), draw(st.sampled_from(["scores", "topk", "labels"]))
    if kind == "labels":
        return Labels(draw(_classes(queries, 1))[:, 0], CLASSES)
    if kind == "topk":
        return TopK(draw(_classes(queries, 3)), draw(_values(queries, 3)), CLASSES, 0.01)
    return Scores(draw(_values(queries, CLASSES)))


def _call(answer: Answer, rows: IntArray) -> SimpleNamespace:
    codec, data = encode(answer)
    return SimpleNamespace(
        step=None, rows=rows, labels=top_label(answer), scores=top_score(answer), codec=codec, answers=data
    )


@settings(max_examples=15, deadline=None)
@given(st.lists(answers(), min_size=1, max_size=4), st.data())
def test_the_view_and_the_replay_are_what_was_recorded(given_answers: list[Answer], data: st.DataObject) -> None:
    ids = st.integers(-1, 2**31 - 1)
    calls = [_call(a, data.draw(arrays(np.int32, (len(a), 2), elements=ids))) for a in given_answers]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        with Ledger.open(path) as ledger:
            run = ledger.begin(INFO)
            for call in calls:
                run.record(call)
            run.flush()
            stored = list(run.stored_calls())
        frame = reads.queries(path)
        assert check(path) == []
    for was, now in zip(calls, stored, strict=True):
        assert (now.step, now.codec, now.answers) == (None, was.codec, was.answers)
        np.testing.assert_array_equal(now.rows, was.rows)
    rows = np.concatenate([call.rows for call in calls])
    np.testing.assert_array_equal(frame[["image", "candidate"]].to_numpy(), rows)
    assert frame["label"].tolist() == np.concatenate([call.labels for call in calls]).tolist()
    assert frame["query"].tolist() == list(range(len(rows)))
    assert frame["call"].tolist() == [n for n, call in enumerate(calls) for _ in call.rows]
    assert b"".join(frame["answer"]) == b"".join(call.answers for call in calls)
    observed = [np.full(len(c.rows), np.nan, np.float32) if c.scores is None else c.scores for c in calls]
    np.testing.assert_array_equal(frame["score"].to_numpy(np.float32), np.concatenate(observed))


@given(arrays(np.float32, st.integers(1, 20), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_every_finite_score_comes_back_exactly(scores: FloatArray) -> None:
    rows = np.zeros((len(scores), 2), np.int32)
    call = SimpleNamespace(
        step=None, rows=rows, labels=np.zeros(len(scores), np.int32), scores=scores, codec="c", answers=b""
    )
    back = np.array([row[3] for row in json.loads(pack_rows(call))], dtype=np.float32)
    np.testing.assert_array_equal(back, scores)


def test_packed_rows_are_the_json_that_plain_sql_reads() -> None:
    call = SimpleNamespace(
        **{"step": None, "rows": np.array([[3, 0], [-1, 7]], np.int32), "labels": np.array([2, 9], np.int32)},
        **{"scores": np.array([0.5, np.inf], np.float32), "codec": "scores/2/0.0", "answers": b"12"},
    )
    assert pack_rows(call) == "[[3,0,2,0.5],[-1,7,9,null]]"
    call.scores = None
    assert pack_rows(call) == "[[3,0,2,null],[-1,7,9,null]]"
    np.testing.assert_array_equal(unpack_rows("[[3,0,2,0.5],[-1,7,9,null]]"), call.rows)


def test_the_checksum_is_pinned_and_sees_every_part() -> None:
    assert checksum("labels/3", "[[0,0,1,null]]", b"\x01\x00") == PINNED
    others = [("labels/4", "[[0,0,1,null]]", b"\x01\x00"), ("labels/3", "[[0,0,2,null]]", b"\x01\x00")]
    for parts in [*others, ("labels/3", "[[0,0,1,null]]", b"\x01\x01")]:
        assert checksum(*parts) != PINNED


PINNED = 4039563436


@pytest.mark.parametrize("text", ["", "{", '{"a": NaN}', "[Infinity]", '"\ud800"'])
def test_what_sqlite_cannot_read_is_no_json(text: str) -> None:
    with pytest.raises(StorageError, match="is not JSON"):
        check_json(text, "the state")
    check_json('{"a": [1.5, null]}', "the state")
