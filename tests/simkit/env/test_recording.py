"""Recordings: what is read is what was written, and a replay of any order is what the live arms do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simkit.env.arms import Field
from simkit.env.episode import LiveVictim
from simkit.env.recording import SUFFIX, Recording, recordings
from simkit.errors import DataError
from tests.simkit.env.planted import ARMS, CLASSES, TARGET, Books, recorded
from tests.simkit.search.scans import IMAGES


@pytest.mark.parametrize("target", [None, TARGET])
def test_a_file_gives_back_what_was_saved(target: int | None, tmp_path: Path) -> None:
    kept = recorded(target)
    path = tmp_path / f"one{SUFFIX}"
    kept.save(path)
    read = Recording.load(path)
    assert read.header == kept.header
    assert all((a == b).all() for a, b in zip(read.arms, kept.arms, strict=True))
    assert np.array_equal(read.gains, kept.gains)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@settings(max_examples=8, deadline=None)
@given(order=st.lists(st.integers(0, CLASSES), max_size=12))
def test_a_replay_in_any_order_is_what_live_arms_do(order: list[int]) -> None:
    books, kept = Books(), recorded()
    live, replayed = LiveVictim("planted-2", books.bench, backdoored=True).begin(), kept.begin()
    over, queries = set(), np.zeros(CLASSES + 1)
    for arm in order:
        if arm in over:
            continue
        first, other = live.pull(arm), replayed.pull(arm)
        assert np.array_equal(first.row, other.row)
        assert (first.gains is None) == (other.gains is None) == (arm < CLASSES)
        assert first.gains is None or np.array_equal(first.gains, other.gains)  # type: ignore[arg-type]
        queries[arm] = first.row[Field.QUERIES]
        over |= {arm} if first.row[Field.OVER] else set()
    assert books.budget.spent == live.check_queries + queries.sum()
    named = ("backdoored", "name", "check_queries", "clean_accuracy", "chunks")
    assert [getattr(live, name) for name in named] == [getattr(replayed, name) for name in named]


def test_queries_are_those_of_the_check_and_every_arm() -> None:
    books = Books(None)
    books.bench.check()
    for number in range(CLASSES + 1):
        arm = books.bench.arm(number)
        while not arm.pull().row[Field.OVER]:
            pass
    assert recorded(None).queries == books.budget.spent


def test_a_bound_on_chunks_is_kept() -> None:
    assert recorded().begin().chunks == ARMS.largest_chunks(len(IMAGES.verify))


def test_a_folder_is_read_by_name_and_one_without_recordings_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="simkit env record"):
        recordings(tmp_path)
    for name, target in (("b", TARGET), ("a", None)):
        recorded(target).save(tmp_path / f"{name}{SUFFIX}")
    assert [r.header.truth for r in recordings(tmp_path)] == ["clean", "backdoored"]


def test_victims_of_other_classes_are_kept_apart(tmp_path: Path) -> None:
    kept = recorded()
    kept.save(tmp_path / f"a{SUFFIX}")
    header = kept.header.model_copy(update={"n_classes": CLASSES - 1})
    replace(kept, header=header).save(tmp_path / f"b{SUFFIX}")
    with pytest.raises(DataError, match="3 and of 4 classes"):
        recordings(tmp_path)


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x05\x06" + 18 * b"\0"])
def test_a_damaged_file_is_told_in_one_line(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"one{SUFFIX}"
    path.write_bytes(data)
    with pytest.raises(DataError, match="record it again") as told:
        Recording.load(path)
    assert "\n" not in str(told.value)
