"""Policies compared: equal queries, paired differences, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from simkit.env.recording import SUFFIX, Recording
from simkit.errors import ConfigError
from studies.cli.main import main
from studies.env.compare import Comparison, Interval, Side, compare, line, paired
from tests.simkit.env.planted import recorded


def victim(target: int | None, name: str, split: str) -> Recording:
    """A planted victim with weights of its own."""
    kept = recorded(target)
    return Recording(kept.header.model_copy(update={"model_hash": name, "split": split}), kept.arms, kept.gains)


def with_settings(kept: Recording, **settings: dict[str, int]) -> Recording:
    return Recording(kept.header.model_copy(update={"settings": settings}), kept.arms, kept.gains)


@pytest.fixture(scope="module")
def tuned() -> list[Recording]:
    return [victim(target, f"tune {target}", "tune") for target in (None, 2)]


@pytest.fixture(scope="module")
def reported() -> list[Recording]:
    return [victim(target, f"report {number}", "report") for number, target in enumerate((None, 0, 1, 3, None, 2))]


def test_equal_differences_need_no_interval_and_others_have_one() -> None:
    assert paired(np.full(6, 0.75), np.full(6, 0.25)) == Interval(0.5, 0.5, 0.5)
    differences = np.array([1.0] * 60 + [-1.0] * 40)
    told = paired(differences, np.zeros(100))
    assert told.mean == pytest.approx(0.2)
    spread = 1.96 * differences.std() / 10
    assert told.low == pytest.approx(0.2 - spread, abs=0.03)
    assert told.high == pytest.approx(0.2 + spread, abs=0.03)
    assert paired(differences, np.zeros(100)) == told


def test_the_baseline_never_has_less_and_a_policy_keeps_to_its_target_on_tune_victims(
    tuned: list[Recording], reported: list[Recording]
) -> None:
    told = compare(reported, tuned, ["uniform", "race-first", "ucb"], [600, 2_000])
    assert [(c.policy.policy, c.target) for c in told] == [
        *(("race-first", 600), ("race-first", 2_000)),
        *(("ucb", 600), ("ucb", 2_000)),
    ]
    for c in told:
        assert c.tune <= c.target
        assert c.baseline.queries >= c.policy.queries
        assert c.score.mean == pytest.approx(c.policy.score - c.baseline.score)
        assert c.score.low is not None
        assert c.score.high is not None
        assert c.score.low <= c.score.mean <= c.score.high
        assert c.better == (c.score.low > 0)


@pytest.mark.parametrize("victims", [1, 2, 5])
def test_a_few_victims_have_no_interval_however_they_differ(victims: int) -> None:
    """A bootstrap of two equal differences has no width, and would call a policy better for certain."""
    assert paired(np.full(victims, 0.75), np.full(victims, 0.25)) == Interval(0.5, None, None)
    assert paired(np.linspace(0.5, 0.9, victims), np.zeros(victims)).low is None


@pytest.mark.parametrize(
    ("low", "queries", "better"), [(0.1, 5.0, True), (0.0, 5.0, False), (None, 5.0, False), (0.1, 7.0, False)]
)
def test_better_is_an_interval_above_0_for_no_more_queries(low: float | None, queries: float, better: bool) -> None:
    ours, baseline = (Side("ucb", 10, spent, 0.5, 0.5, 0.0) for spent in (queries, 6.0))
    assert Comparison(10, 5.0, ours, baseline, Interval(0.2, low, 0.3), Interval(0.0, None, None)).better is better


def test_recordings_of_one_victim_count_as_one(tuned: list[Recording], reported: list[Recording]) -> None:
    doubled = [*reported, reported[1]]
    once, twice = (compare(victims, tuned, ["race-first"], [2_000])[0] for victims in (reported, doubled))
    assert twice.policy.score == pytest.approx(once.policy.score)
    assert line(twice, doubled, tuned)["victims"] == 6


def test_what_cannot_be_compared_is_refused(tuned: list[Recording], reported: list[Recording]) -> None:
    other = reported[0].header.model_copy(update={"n_classes": 5})
    labels, longer = (with_settings(reported[0], **{part: {"any": 1}}) for part in ("oracle", "arms"))
    for recordings, tune, policies, targets, said in (
        (reported, tuned, ["best"], [1_000], "no policy"),
        (reported, tuned, ["ucb"], [], "one or more mean"),
        (reported, tuned, ["ucb"], [0], "1 or more"),
        (tuned, tuned, ["ucb"], [1_000], "both folders"),
        ([Recording(other, reported[0].arms, reported[0].gains)], tuned, ["ucb"], [1_000], "4 classes and some 5"),
        ([*reported, victim(2, "calibrate 2", "calibrate")], tuned, ["ucb"], [1_000], "splits calibrate and report"),
        ([*reported[1:], labels], tuned, ["ucb"], [1_000], "their oracle settings"),
        ([longer], tuned, ["ucb"], [1_000], "their arms settings"),
    ):
        with pytest.raises(ConfigError, match=said):
            compare(recordings, tune, policies, targets)


def test_repeats_behind_one_noisy_service_are_compared(tuned: list[Recording], reported: list[Recording]) -> None:
    seeded = [with_settings(kept, oracle={"seed": number}) for number, kept in enumerate(reported)]
    tune = [with_settings(kept, oracle={"seed": 9}) for kept in tuned]
    assert [c.target for c in compare(seeded, tune, ["race-first"], [2_000])] == [2_000]


def test_the_command_writes_a_line_a_comparison(
    tuned: list[Recording], reported: list[Recording], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, victims in (("tune", tuned), ("report", reported)):
        (tmp_path / folder).mkdir()
        for number, kept in enumerate(victims):
            kept.save(tmp_path / folder / f"{number}{SUFFIX}")
    out = tmp_path / "env.jsonl"
    command = [
        "env",
        "compare",
        str(tmp_path / "report"),
        "--tune",
        str(tmp_path / "tune"),
        "--budget-grid",
        "600,2000",
    ]
    assert main([*command, "--policies", "race-first,uniform-all", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "6 victims of split report, 2 of them clean" in printed
    lines = [json.loads(text) for text in out.read_text().splitlines()]
    assert [(told["policy"]["policy"], told["target"]) for told in lines] == [
        *(("race-first", 600), ("race-first", 2_000)),
        *(("uniform-all", 600), ("uniform-all", 2_000)),
    ]
    assert main([*command, "--policies", "race-first,uniform-all", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == lines
    assert main([*command, "--policies", "best"]) == 2
    assert main(["env", "compare", str(tmp_path / "report"), "--tune", str(tmp_path / "report")]) == 2
