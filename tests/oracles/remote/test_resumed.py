"""A remote run that goes on with another batch: what was paid is not paid again, or a note says so."""

from __future__ import annotations

import pytest
import torch

from oracles.answers import encode
from oracles.remote import remote
from oracles.remote.exchange import Attempt, MemoryAttempts, perhaps_billed_twice, sizes_of_calls
from tests.oracles.fakes import LinearOracle as Linear
from tests.remote_server import Behaviour, serving

IMAGES = torch.rand((8, 3, 4, 4), generator=torch.Generator().manual_seed(0))


@pytest.mark.process
@pytest.mark.parametrize("batch", [1, 3, 4, 5, 8])
@pytest.mark.parametrize("in_flight", [1, 8])
def test_a_run_that_goes_on_with_another_batch_pays_nothing_again(batch: int, in_flight: int) -> None:
    attempts = MemoryAttempts()
    with serving(Linear(), Behaviour(), max_batch=8) as service:
        for size in (4, batch):  # the first process ends before an answer is stored
            oracle = remote(service.url, batch=size, in_flight=in_flight)
            oracle.begin("run", 0, attempts, in_parts=False)
            assert encode(oracle.query(IMAGES)) == encode(Linear().query(IMAGES))
            oracle.close()
        assert service.spent == 8
        assert oracle.notes == ()


@pytest.mark.process
def test_what_was_not_sent_before_is_cut_by_the_present_batch() -> None:
    attempts = MemoryAttempts()
    with serving(Linear(), Behaviour(), max_batch=8) as service:
        for size, asked in ((4, IMAGES[:4]), (3, IMAGES)):
            oracle = remote(service.url, batch=size, in_flight=1)
            oracle.begin("run", 0, attempts, in_parts=False)
            assert encode(oracle.query(asked)) == encode(Linear().query(asked))
            oracle.close()
        assert service.spent == 8
        assert list(sizes_of_calls(attempts.attempts(), 0).items()) == [(0, 4), (4, 3), (7, 1)]


@pytest.mark.process
def test_a_service_without_keys_bills_again_and_the_notes_say_so() -> None:
    attempts = MemoryAttempts()
    with serving(Linear(), Behaviour(idempotent=False, says=False, ordered=False), max_batch=8) as service:
        for batch in (4, 3):
            oracle = remote(service.url, batch=batch)
            oracle.begin("run", 0, attempts, in_parts=False)
            oracle.query(IMAGES)
            oracle.close()
        assert service.spent == 16
        (note,) = oracle.notes
        assert "2 calls of 8 images were sent again" in note


def test_a_call_that_was_lost_and_then_refused_is_sent_again_as_it_was() -> None:
    lost, refused = Attempt(4, 4, "a", 1, "lost"), Attempt(4, 4, "a", 2, "refused", 429)
    assert sizes_of_calls([lost, refused, told(8, 2, "b", "refused"), told(0, 4, "c")], 4) == {4: 4}


def told(first: int, queries: int, key: str, outcome: str = "answered", charged: int | None = None) -> Attempt:
    return Attempt(first, queries, key, 1, outcome, 200, charged)


@pytest.mark.parametrize(
    ("attempts", "twice"),
    [
        ([told(0, 4, "a"), told(0, 3, "b"), told(3, 3, "c"), told(6, 2, "d")], (2, 4)),
        ([told(0, 4, "a", charged=4), told(0, 3, "b", charged=3)], (1, 3)),
        ([told(0, 4, "a", "sent"), told(2, 4, "b")], (1, 2)),
        ([told(0, 4, "a", "refused"), told(0, 2, "b"), told(2, 2, "c")], (0, 0)),
        ([told(0, 4, "a"), told(4, 4, "b")], (0, 0)),
    ],
)
def test_queries_that_two_calls_have_in_common_may_be_billed_twice(
    attempts: list[Attempt], twice: tuple[int, int]
) -> None:
    assert perhaps_billed_twice(attempts) == twice
