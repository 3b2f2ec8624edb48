"""What a watched caller gets after an alarm, and that a resumed run comes to the same alarms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from oracles.answers import Labels, Scores, TopK, encode
from oracles.budget import Budget
from oracles.errors import InvalidSpec, Refused, ReplayMismatch
from oracles.guard import Earlier, ServiceClock
from oracles.meter import AlarmRecord, MemoryRecorder
from oracles.oracle import Oracle, Tag
from oracles.resume import Past
from oracles.spec import OracleSpec, build, provided
from oracles.watch.settings import WatchSpec
from oracles.watch.watched import Suspicion
from tests.contracts.oracle import OracleContract
from tests.oracles.fakes import LinearOracle, random_images

SHAPE = (3, 4, 4)


def spec(action: Any, detector: Any = "blacklight", **fields: Any) -> OracleSpec:
    seconds = 2.0 if action == "slow" else None
    return OracleSpec(watch=WatchSpec(detector=detector, action=action, seconds=seconds, **fields))


def images(*which: int) -> torch.Tensor:
    """Random images by number, so that equal numbers are equal queries."""
    return random_images(10)[list(which)]


def recorder(steps: int = 9) -> MemoryRecorder:
    made = MemoryRecorder()
    for step in range(steps):
        made.open_step(step, "search", "{}")
    return made


def tagged(oracle: Oracle, step: int, *which: int) -> Any:
    return oracle.query(images(*which), Tag(step, np.array([[i, 0] for i in which], np.int32)))


@pytest.mark.parametrize("action", ["log", "slow", "coarse", "cached"])
class TestWatchedContract(OracleContract):
    @pytest.fixture(autouse=True)
    def _action(self, action: str) -> None:
        self.action = action

    def make(self) -> Oracle:
        return build(spec(self.action, threshold=99.0), LinearOracle(), Budget(100))


def test_log_changes_no_answer_and_records_each_alarm_after_its_call() -> None:
    plain, kept = LinearOracle(), MemoryRecorder()
    watched = build(spec("log"), LinearOracle(), Budget(9), kept)
    first = watched.query(images(0, 1, 2))
    assert kept.alarms == []
    again = watched.query(images(3, 1, 0))
    assert [encode(a) for a in (first, again)] == [encode(plain.query(images(*w))) for w in ((0, 1, 2), (3, 1, 0))]
    # 48 values have 29 windows of 20
    assert kept.alarms == [AlarmRecord("blacklight", 29.0, n, 1, "log") for n in (4, 5)]


def test_an_alarm_needs_more_than_the_threshold() -> None:
    for threshold, alarms in ((29.0, 0), (28.0, 1)):
        kept = MemoryRecorder()
        watched = build(spec("log", threshold=threshold), LinearOracle(), Budget(9), kept)
        watched.query(images(0, 0))
        assert len(kept.alarms) == alarms


def test_slow_lets_time_pass_from_the_call_after_the_alarm() -> None:
    clock = ServiceClock()
    watched = build(spec("slow"), LinearOracle(), Budget(9), clock=clock)
    times = []
    for which in ((0, 1), (0, 2), (3,), (4,)):
        watched.query(images(*which))
        times.append(clock.seconds)
    assert times == [0.0, 0.0, 2.0, 4.0]
    assert spec("slow").timed
    assert not spec("log").timed


@pytest.mark.parametrize("top_k", [None, 3])
def test_coarse_answers_fewer_decimals_from_the_call_after_the_alarm(top_k: int | None) -> None:
    oracle = OracleSpec(top_k=top_k, watch=WatchSpec(detector="blacklight", action="coarse", decimals=1))
    watched = build(oracle, LinearOracle(), Budget(9))
    exact = [watched.query(images(0, 1)), watched.query(images(0, 2))]
    coarse = watched.query(images(0, 1))
    assert isinstance(coarse, TopK if top_k else Scores)
    assert coarse.floor == 0.05
    assert all(answer.floor == 0.0 for answer in exact if not isinstance(answer, Labels))
    assert coarse.values == pytest.approx(np.round(coarse.values, 1))
    assert abs(coarse.values - exact[0].values).max() <= 0.05 + 1e-6  # type: ignore[union-attr]
    if isinstance(coarse, TopK):
        assert ((coarse.classes == -1) == (coarse.values == 0.0)).all()


@pytest.mark.parametrize("inner", [OracleSpec(), OracleSpec(top_k=3), OracleSpec(label_only=True)])
def test_coarse_without_decimals_answers_the_top_class_only(inner: OracleSpec) -> None:
    watched = build(
        inner.model_copy(update={"watch": WatchSpec(detector="blacklight", action="coarse")}),
        LinearOracle(),
        Budget(9),
    )
    before = watched.query(images(0, 0))
    after = watched.query(images(0))
    if isinstance(before, Labels):
        assert encode(after) == encode(Labels(before.labels[:1], 5))
    else:
        assert isinstance(after, TopK)
        assert after.classes.shape == (1, 1)
        assert after.values[0, 0] == before.values[0].max()


def test_cached_answers_as_the_earlier_query_was_answered() -> None:
    noisy = OracleSpec(score_noise=0.1, watch=WatchSpec(detector="blacklight", action="cached"))
    watched = build(noisy, LinearOracle(), Budget(9))
    first = watched.query(images(0, 1))
    second = watched.query(images(2, 1, 0, 2))
    assert isinstance(first, Scores)
    assert isinstance(second, Scores)
    assert np.array_equal(second.values[1:3], first.values[[1, 0]])
    assert np.array_equal(second.values[3], second.values[0])


def test_a_forgotten_query_is_answered_anew() -> None:
    noisy = OracleSpec(score_noise=0.1, watch=WatchSpec(detector="blacklight", action="cached", memory=2))
    watched = build(noisy, LinearOracle(), Budget(9))
    answers = watched.query(images(0, 1, 1, 2, 0, 2))
    assert isinstance(answers, Scores)
    same = [[np.array_equal(a, b) for b in answers.values] for a in answers.values]
    assert np.argwhere(np.triu(same, 1)).tolist() == [[1, 2], [3, 5]]


def test_ban_refuses_from_the_next_call_on_and_charges_nothing() -> None:
    kept, budget, model = recorder(), Budget(9), LinearOracle()
    watched = build(spec("ban"), model, budget, kept)
    tagged(watched, 0, 0, 1)
    tagged(watched, 1, 0, 2)
    for step in (2, 3):
        with pytest.raises(Refused, match="raised an alarm"):
            tagged(watched, step, 5)
    assert (budget.spent, model.images_seen) == (4, 4)
    assert kept.refusals == [(2, 1, "banned"), (3, 1, "banned")]
    assert [alarm.action for alarm in kept.alarms] == ["ban"]


def test_a_call_that_fails_leaves_no_alarm() -> None:
    kept = MemoryRecorder()
    watched = build(spec("ban"), LinearOracle(), Budget(3), kept)
    watched.query(images(0, 1))
    with pytest.raises(Refused):
        watched.query(images(0, 1))  # over the budget
    assert kept.alarms == []
    watched.query(images(5))


ASKED = [(0, 1, 2), (3, 1), (0, 0, 4), (5,), (1, 6)]


@pytest.mark.parametrize("detector", ["blacklight", "piha", "prada"])
@pytest.mark.parametrize("action", ["log", "slow", "coarse", "cached", "ban"])
@pytest.mark.parametrize("calls", range(6))
@pytest.mark.parametrize("lost", [0, 1])
def test_a_resumed_run_gets_the_same_answers_alarms_times_and_refusals(
    detector: str, action: str, calls: int, lost: int
) -> None:
    """calls: those that the killed process stored. lost: its last alarms, which it did not store."""
    if (detector, action) == ("prada", "cached"):
        return
    oracle = spec(action, detector, **({"threshold": -1.0} if detector == "prada" else {}))

    def asked(watched: Oracle) -> list[Any]:
        got: list[Any] = []
        for step, which in enumerate(ASKED):
            try:
                got.append(encode(tagged(watched, step, *which)))
            except Refused as error:
                got.append(error.reason)
        return got

    whole, clock = recorder(), ServiceClock()
    expected = asked(build(oracle, LinearOracle(), Budget(99), whole, clock=clock))
    assert whole.alarms
    stored = whole.calls[:calls]
    queries = sum(len(call.rows) for call in stored)
    alarms = [alarm for alarm in whole.alarms if alarm.first < queries]
    alarms = alarms[: len(alarms) - lost] if lost and alarms else alarms
    refusals = [Stored(s, q, r) for s, q, r in whole.refusals if s is not None and s < calls]
    resumed, again, model = recorder(), ServiceClock(), LinearOracle()
    past = Past(queries, stored, refusals, alarms)
    assert asked(build(oracle, model, Budget(99, spent=queries), resumed, past=past, clock=again)) == expected
    assert alarms + resumed.alarms == whole.alarms
    assert [c.answers for c in stored + resumed.calls] == [c.answers for c in whole.calls]
    assert again.seconds == clock.seconds
    assert model.images_seen == sum(len(call.rows) for call in whole.calls) - queries


class Stored:
    def __init__(self, step: int, queries: int, reason: str) -> None:
        self.step, self.queries, self.reason = step, queries, reason


def test_other_stored_alarms_are_another_run() -> None:
    whole = recorder()
    tagged(build(spec("log"), LinearOracle(), Budget(9), whole), 0, 0, 0)
    wrong = [AlarmRecord("blacklight", 29.0, 0, 1, "log")]
    watched = build(spec("log"), LinearOracle(), Budget(9), recorder(), past=Past(2, whole.calls, (), wrong))
    with pytest.raises(ReplayMismatch, match="other alarms"):
        tagged(watched, 0, 0, 0)


def test_a_provider_goes_on_with_its_suspicion_and_its_count() -> None:
    suspicion = Suspicion()
    watched = provided(spec("ban"), LinearOracle(), Budget(9), ServiceClock(), Earlier(queries=7), suspicion)
    watched.query(images(0, 0))
    assert suspicion.waiting == [AlarmRecord("blacklight", 29.0, 8, 1, "ban")]
    banned = provided(spec("ban"), LinearOracle(), Budget(9), ServiceClock(), Earlier(9), Suspicion(alarmed=True))
    with pytest.raises(Refused):
        banned.query(images(1))


def test_the_table_survives_toml_and_json() -> None:
    for action in ("log", "slow", "coarse", "cached", "ban"):
        told = spec(action, threshold=0.25, memory=5)
        assert OracleSpec.from_toml(told.to_toml()) == told == OracleSpec.from_json(told.to_json())
    assert "watch" not in OracleSpec().to_json()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("watch = 3", "watch = 3"),
        ("[watch]", "watch.detector is missing"),
        ('[watch]\ndetector = "blacklit"', "'blacklight', 'piha' or 'prada'"),
        ('[watch]\ndetector = "piha"\nactoin = "ban"', "did you mean 'action'"),
        ('[watch]\ndetector = "piha"\naction = "slow"', "needs seconds"),
        ('[watch]\ndetector = "piha"\nseconds = 1.0', "leave it out"),
        ('[watch]\ndetector = "piha"\ndecimals = 1', "leave it out"),
        ('[watch]\ndetector = "prada"\naction = "cached"', "names no earlier query"),
        ('[watch]\ndetector = "piha"\nmemory = 0', "greater than or equal to 1"),
        ('[watch]\ndetector = "piha"\nthreshold = nan', "finite"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(table: str, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message) as told:
        OracleSpec.from_toml(table)
    assert "\n" not in str(told.value)
