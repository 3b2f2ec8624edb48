"""A verdict is a probability of a backdoor where its detector was calibrated, and never a certainty."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkit.errors import ConfigError
from studies.cli.db import run_rows
from studies.report.gather import gather
from studies.report.page import render
from studies.scan.calibration import Calibration, Outcomes, deciding_settings
from studies.scan.config import ScanConfig
from studies.scan.probability import Probability, chance_words, of_verdict, probability
from studies.statistics import likelihood_ratio
from tests.studies.scans import SETTINGS, TemplateNet, scanned

SHAPE = (3, 32, 32)
HERE = {"output": "logits"}
COUNTS = st.integers(0, 60).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda k: st.integers(0, n - k).map(lambda c: Outcomes(n, k, c)))
)
PRIORS = st.floats(1e-6, 1 - 1e-6)


def stored(**settings: Any) -> dict[str, Any]:
    """The settings of a scan as a ledger or a line keeps them."""
    told: dict[str, Any] = json.loads(json.dumps(ScanConfig.of({"data": "digits"} | settings).identity()))
    return told


def calibration(backdoored: Outcomes, clean: Outcomes, **settings: Any) -> Calibration:
    known = deciding_settings(stored(**settings))
    assert known is not None
    return Calibration("auto", known, "scores", SHAPE[1:], ("zoo",), backdoored, clean)


KNOWN = calibration(Outcomes(12, 11, 1), Outcomes(12, 0, 12))


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.scan.probability.CALIBRATED", (KNOWN,))


def test_known_answers() -> None:
    flagged, clean = of_verdict(KNOWN, "backdoored"), of_verdict(KNOWN, "clean")
    assert flagged.value == pytest.approx(11.5 / (11.5 + 0.5))
    assert clean.value == pytest.approx(1.5 / (1.5 + 12.5))
    ratio = likelihood_ratio((11, 12), (0, 12))
    assert (flagged.low, flagged.high) == pytest.approx((ratio.low / (1 + ratio.low), ratio.high / (1 + ratio.high)))
    assert (flagged.prior, flagged.backdoored, flagged.clean) == (0.5, 12, 12)
    assert flagged.words == (
        "0.96 (95 % interval 0.83 to more than 0.999) if 50 % of all models have a backdoor; fitted on 12 backdoored "
        "and 12 clean models of zoo"
    )
    assert flagged.to_json()["zoos"] == ["zoo"]


@given(COUNTS, COUNTS)
def test_no_verdict_is_certain_and_a_higher_score_is_never_less_suspicious(
    backdoored: Outcomes, clean: Outcomes
) -> None:
    of = calibration(backdoored, clean)
    flagged, not_flagged = of_verdict(of, "backdoored"), of_verdict(of, "clean")
    for found in (flagged, not_flagged):
        assert 0 < found.low <= found.value <= found.high < 1
    assert not_flagged.value <= 0.5 <= flagged.value
    assert flagged.value <= 1 - 0.5 / (clean.victims + 1) / 2


@given(COUNTS, COUNTS, PRIORS, PRIORS)
def test_another_prior_is_bayes_rule(backdoored: Outcomes, clean: Outcomes, prior: float, other: float) -> None:
    flagged = of_verdict(calibration(backdoored, clean), "backdoored")
    ratio = flagged.value / (1 - flagged.value)
    moved = flagged.at(prior)
    assert moved.value == pytest.approx(prior * ratio / (prior * ratio + 1 - prior))
    assert 0 < moved.low <= moved.value <= moved.high < 1
    assert moved.at(other).value == pytest.approx(flagged.at(other).value)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, float("nan"), float("inf")])
def test_a_prior_of_certainty_is_refused(prior: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        of_verdict(KNOWN, "clean").at(prior)


@pytest.mark.parametrize(
    "chance", [1e-9, 0.0004, 0.00099, 0.004, 0.0099, 0.01, 0.5, 0.99, 0.9901, 0.996, 0.9991, 1 - 1e-12]
)
def test_words_never_round_to_certainty(chance: float) -> None:
    assert not {"0.00", "1.00", "0.000", "1.000"} & set(chance_words(chance).split())
    assert float(chance_words(chance).rpartition(" ")[2]) == pytest.approx(chance, abs=0.005)


SAME: tuple[dict[str, Any], ...] = (
    *({"budget": 7}, {"seed": 3}, {"refine": 2_000}, {"chunk": 7}),
    *({"oracle": {"price_per_thousand": 2.0, "currency": "USD"}}, {"oracle": {"rate_limit": "10/second"}}),
)
OTHERS: tuple[dict[str, Any], ...] = (
    *(
        {"preset": "race"},
        {"refine": 0},
        {"oracle": "label"},
        {"oracle": "top3"},
        {"oracle": {"decimals": 2}},
        {"search": {"keep": 7}},
    ),
    *({"driver": {"confirm_batch": 2}}, {"search_images": 32}, {"verify_images": 64}),
)


@pytest.mark.parametrize("settings", SAME, ids=str)
def test_what_changes_no_verdict_is_the_same_detector(settings: dict[str, Any]) -> None:
    assert probability(stored(**settings), HERE, "clean", SHAPE) == of_verdict(KNOWN, "clean")


@pytest.mark.parametrize("settings", OTHERS, ids=str)
def test_what_was_calibrated_otherwise_has_no_probability(settings: dict[str, Any]) -> None:
    assert probability(stored(**settings), HERE, "clean", SHAPE) is None


def test_only_a_verdict_on_such_images_of_a_model_that_is_run_here_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = stored()
    assert isinstance(probability(settings, HERE, "backdoored", (1, 32, 32)), Probability)
    for verdict, environment, shape in (
        ("undecided", HERE, SHAPE),
        ("invalid", HERE, SHAPE),
        ("clean", {}, SHAPE),
        ("clean", HERE, (3, 64, 64)),
        ("clean", HERE, None),
    ):
        assert probability(settings, environment, verdict, shape) is None
    monkeypatch.setattr("studies.scan.probability.CALIBRATED", ())
    assert probability(settings, HERE, "backdoored", SHAPE) is None


def test_a_class_that_moves_to_another_file_is_the_same_and_code_of_ones_own_another() -> None:
    settings = stored()
    moved = settings | {"search": settings["search"] | {"kind": "elsewhere.RaceConfig"}}
    assert deciding_settings(moved) == deciding_settings(settings)
    own = settings | {"search": settings["search"] | {"code": "ab"}}
    assert deciding_settings(own) is None
    assert deciding_settings(settings | {"restriction": {"kind": "mine.Restriction"}}) is None


@pytest.mark.parametrize(
    "changes", [{"oracle": None}, {"oracle": {"top_k": "x"}}, {"stages": 5}, {"stages": [5]}, {"search": 5}], ids=str
)
def test_a_strangers_settings_are_unknown_and_no_bug(changes: dict[str, Any]) -> None:
    assert deciding_settings(stored() | changes) is None
    assert deciding_settings({}) is None


def test_a_calibration_of_another_service_or_size_stands_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = calibration(Outcomes(9, 9, 0), Outcomes(9, 3, 6), oracle="label")
    large = replace(KNOWN, size=(64, 64), clean=Outcomes(40, 0, 40))
    monkeypatch.setattr("studies.scan.probability.CALIBRATED", (labels, large, KNOWN))
    assert probability(stored(oracle="label"), HERE, "clean", SHAPE) == of_verdict(labels, "clean")
    assert probability(stored(), HERE, "clean", (3, 64, 64)) == of_verdict(large, "clean")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Calibration:
    """The settings of small scans as if they had been calibrated on images of 12x12 pixels."""
    settings = deciding_settings(json.loads(json.dumps(ScanConfig.of({"data": "digits"} | SETTINGS).identity())))
    assert settings is not None
    made = replace(KNOWN, settings=settings, size=(12, 12))
    monkeypatch.setattr("studies.scan.probability.CALIBRATED", (made,))
    return made


@pytest.mark.parametrize(("target", "verdict"), [(1, "backdoored"), (None, "clean")])
def test_it_is_computed_from_the_ledger_and_shown(
    small: Calibration, target: int | None, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = of_verdict(small, verdict)
    fresh = scanned(TemplateNet(target), budget=3_000, db=tmp_path / "a.db")
    assert (fresh.verdict, fresh.probability) == (verdict, known)
    assert fresh.to_json()["probability"] == known.to_json()
    assert fresh.under(0.1).probability == known.at(0.1)
    assert known.words in fresh._repr_html_()
    assert known.words in render(gather(tmp_path / "a.db"))
    assert [row["probability"] for row in run_rows(tmp_path / "a.db")] == [known.value]
    monkeypatch.setattr("studies.scan.probability.CALIBRATED", ())
    again = scanned(TemplateNet(target), budget=3_000, db=tmp_path / "a.db")
    assert (again.spent, again.probability, again.to_json()["probability"]) == (fresh.spent, None, None)
    assert "Probability" not in render(gather(tmp_path / "a.db"))
    assert [row["probability"] for row in run_rows(tmp_path / "a.db")] == [None]


def test_a_scan_without_a_verdict_has_none(small: Calibration) -> None:
    assert scanned(TemplateNet(), budget=100).probability is None
    assert scanned(TemplateNet(1), budget=3_000, search_images=48).probability is None
