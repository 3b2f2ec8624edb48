"""What every searcher promises, whatever it does: subclass `SearchContract` and say how to make one."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from simkit.errors import ContractError
from simkit.search.contract import Evidence, Proposal, Search, Task
from simkit.seeding import stream
from simkit.verdict import ClassResult

TASK = Task((2, 6, 5), 3, np.array([0, 1, 2, -1, 0, 1, 2, 2], dtype=np.int32))


def some_evidence(proposal: Proposal, task: Task, seed: int = 0) -> Evidence:
    """Evidence that depends on the proposal alone: class 0 likes bright triggers, the others answer noise."""
    size = len(proposal.pairs)
    score = stream(seed, "evidence", size).uniform(-3.0, -0.1, (size, task.n_classes)).astype(np.float32)
    black = np.zeros((1, *task.image_shape), np.float32)
    brightness = np.array([proposal.triggers[k].on(black).mean() for k in range(len(proposal.triggers))])
    score[:, 0] = np.minimum(-3.0 + 8.0 * brightness[proposal.pairs[:, 0]], -0.01)
    hit = score.argmax(axis=1)[:, None] == np.arange(task.n_classes)
    valid = task.image_classes[proposal.pairs[:, 1]][:, None] != np.arange(task.n_classes)
    return Evidence(score, hit, valid)


def advance(search: Search, turns: int, task: Task = TASK) -> list[Proposal]:
    """Ask and tell `turns` times or until the search has converged; the proposals."""
    proposals: list[Proposal] = []
    while len(proposals) < turns and (proposal := search.ask()) is not None:
        search.tell(some_evidence(proposal, task))
        proposals.append(proposal)
    return proposals


def bytes_of(proposal: Proposal) -> tuple[str, bytes]:
    triggers = [proposal.triggers[k].to_json() for k in range(len(proposal.triggers))]
    return str(triggers), proposal.pairs.tobytes()


def told(results: tuple[ClassResult, ...]) -> list[tuple[object, ...]]:
    """Everything in the results, by value."""
    return [(r.target_class, str(r.trigger.to_json()), r.mask_size, r.success_rate, r.censored) for r in results]


def spoil(value: object) -> None:
    """Overwrite every array in a trigger of any family."""
    if isinstance(value, np.ndarray):
        value[...] = 0.25 if value.dtype.kind == "f" else 7
    elif isinstance(value, tuple):
        for part in value:
            spoil(part)
    elif is_dataclass(value):
        for part in fields(value):
            spoil(getattr(value, part.name))


class SearchContract:
    """Contract tests; `make` builds a fresh search on a task, `turns` is more than enough for it to converge."""

    turns = 200

    def make(self, task: Task, seed: int) -> Search:
        raise NotImplementedError

    def test_asking_twice_raises_and_changes_nothing(self) -> None:
        search, other = self.make(TASK, 1), self.make(TASK, 1)
        first = search.ask()
        assert first is not None
        with pytest.raises(ContractError, match="ask was called twice"):
            search.ask()
        search.tell(some_evidence(first, TASK))
        assert bytes_of(advance(search, 1)[0]) == bytes_of(advance(other, 2)[1])

    def test_telling_without_an_ask_raises(self) -> None:
        search = self.make(TASK, 1)
        proposal = search.ask()
        assert proposal is not None
        search.tell(some_evidence(proposal, TASK))
        with pytest.raises(ContractError, match="without an ask"):
            search.tell(some_evidence(proposal, TASK))
        with pytest.raises(ContractError, match="without an ask"):
            self.make(TASK, 1).tell(some_evidence(proposal, TASK))

    @pytest.mark.parametrize("change", ["short", "long", "classes"])
    def test_evidence_of_another_size_raises_and_may_be_told_again(self, change: str) -> None:
        search, other = self.make(TASK, 1), self.make(TASK, 1)
        proposal = search.ask()
        assert proposal is not None
        good = some_evidence(proposal, TASK)
        rows, classes = np.arange(len(good.score)), np.arange(TASK.n_classes)
        cut = {
            "short": np.ix_(rows[:-1], classes),
            "long": np.ix_(np.append(rows, 0), classes),
            "classes": np.ix_(rows, classes[:-1]),
        }[change]
        with pytest.raises(ContractError, match="expected"):
            search.tell(Evidence(good.score[cut], good.hit[cut], good.valid[cut]))
        search.tell(good)
        advance(other, 1)
        assert told(search.results()) == told(other.results())

    def test_equal_seeds_propose_the_same_and_others_do_not(self) -> None:
        first, again, other = (list(map(bytes_of, advance(self.make(TASK, s), 7))) for s in (4, 4, 5))
        assert first == again
        assert first != other

    def test_a_replay_ends_where_the_first_run_did(self) -> None:
        first, again = self.make(TASK, 2), self.make(TASK, 2)
        advance(first, 9)
        for _ in range(9):
            advance(again, 1)
            again.results(), again.state()  # looking on must not change anything
        assert told(first.results()) == told(again.results())
        assert first.state() == again.state()
        assert first.rounds == again.rounds

    def test_one_result_a_class_in_order_at_any_time(self) -> None:
        search = self.make(TASK, 3)
        for _ in range(4):
            results = search.results()
            assert [r.target_class for r in results] == [0, 1, 2]
            for r in results:
                assert r.mask_size == pytest.approx(r.trigger.mask_size)
                assert r.trigger.image_shape == TASK.image_shape
                assert r.success_rate is None or 0.0 <= r.success_rate <= 1.0
            advance(search, 3)

    def test_nothing_is_known_before_the_first_tell(self) -> None:
        fresh, asked = self.make(TASK, 3), self.make(TASK, 3)
        asked.ask()
        for search in (fresh, asked):
            assert search.rounds == 0
            assert all(r.censored and r.success_rate is None for r in search.results())

    def test_results_are_copies(self) -> None:
        search, other = self.make(TASK, 6), self.make(TASK, 6)
        for _ in range(6):
            before = told(search.results())
            for result in search.results():
                spoil(result.trigger)
            assert told(search.results()) == before
            assert list(map(bytes_of, advance(search, 2))) == list(map(bytes_of, advance(other, 2)))

    def test_what_was_told_before_stays_as_it_was(self) -> None:
        search = self.make(TASK, 6)
        advance(search, 6)
        results = search.results()
        before = told(results)
        advance(search, 6)
        assert told(results) == before

    def test_proposals_are_triggers_on_search_images(self) -> None:
        for proposal in advance(self.make(TASK, 7), 8):
            triggers, grey = proposal.triggers, np.full((1, *TASK.image_shape), 0.5, np.float32)
            for put in (triggers[k].on(grey) for k in range(len(triggers))):
                assert put.shape == grey.shape
                assert put.min() >= 0.0
                assert put.max() <= 1.0
            assert proposal.pairs[:, 1].max() < len(TASK.image_classes)
            assert set(proposal.pairs[:, 0]) == set(range(len(triggers))), "no candidate is sent along for nothing"

    def test_it_converges_and_stays_so(self) -> None:
        search = self.make(TASK, 8)
        assert len(advance(search, self.turns)) < self.turns
        rounds, results = search.rounds, told(search.results())
        assert rounds > 0
        assert search.ask() is None
        assert search.ask() is None
        assert (search.rounds, told(search.results())) == (rounds, results)

    def test_rounds_only_grow_by_one(self) -> None:
        search = self.make(TASK, 9)
        seen = [search.rounds]
        while advance(search, 1):
            seen.append(search.rounds)
        assert set(np.diff(seen)) <= {0, 1}
        assert seen[0] == 0

    def test_the_state_is_one_json_object(self) -> None:
        search = self.make(TASK, 9)
        for _ in range(5):
            assert isinstance(json.loads(search.state()), dict)
            advance(search, 1)

    def test_an_image_of_unknown_class_may_be_used(self) -> None:
        task = Task((1, 4, 4), 2, np.full(3, -1, dtype=np.int32))
        assert advance(self.make(task, 0), 3, task)
