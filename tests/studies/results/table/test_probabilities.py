"""Probabilities of a backdoor in a table: how good they are, and blank where a method has none."""

from __future__ import annotations

import csv
import json
import math
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from simkit.errors import ConfigError
from studies.results.table.cells import chance_of
from studies.results.table.export import to_csv, to_json
from studies.results.table.gather import Wanted, gather
from studies.results.table.records import Table
from studies.results.table.views import text
from studies.scan.calibration import Calibration, Outcomes, deciding_settings
from studies.scan.config import ScanConfig
from studies.scan.probability import of_verdict
from tests.studies.results.table.made import line, lines, write

AUTO: dict[str, Any] = json.loads(json.dumps(ScanConfig.of({"data": "digits", "preset": "race"}).identity()))
OF_AUTO: dict[str, Any] = {
    **{"config": AUTO, "environment": {"output": "logits"}, "image_shape": (3, 32, 32)},
    **{"rule_limit": 1 / 64, "detector": "race"},
}
KNOWN = Calibration(
    "race", str(deciding_settings(AUTO)), "scores", (32, 32), ("zoo",), Outcomes(12, 11, 1), Outcomes(12, 0, 12)
)
FLAGGED, CLEAN = of_verdict(KNOWN, "backdoored").value, of_verdict(KNOWN, "clean").value


@pytest.fixture
def calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.scan.probability.CALIBRATED", (KNOWN,))


def table(folder: Path, prior: float = 0.5) -> Table:
    """Two methods, of which one is calibrated: it is right about two, wrong about one, and undecided about one."""
    return gather([write(folder / "a.jsonl", [*lines("cccu"), *lines("cbuc", **OF_AUTO)])], Wanted(prior=prior))


def test_a_method_with_probabilities_has_known_figures(calibrated: None, tmp_path: Path) -> None:
    race, probe = table(tmp_path).zoos[0].cells
    found = race.forecast
    assert (found.victims, race.scans, probe.forecast.victims) == (3, 4, 0)
    assert found.cross_entropy is not None
    assert found.brier is not None
    losses = (-math.log(1 - CLEAN), -math.log(FLAGGED), -math.log(CLEAN))
    assert found.cross_entropy.value == pytest.approx(sum(losses) / 3)
    assert found.brier.value == pytest.approx((CLEAN**2 + (1 - FLAGGED) ** 2 + (1 - CLEAN) ** 2) / 3)
    assert [b.mean for b in found.reliability] == pytest.approx([CLEAN, FLAGGED])
    assert [(b.backdoored.hits, b.backdoored.trials) for b in found.reliability] == [(1, 2), (1, 1)]


def test_a_method_without_them_is_blank_and_a_table_without_any_has_no_column(
    calibrated: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = text(table(tmp_path), 120)
    assert "cross entropy" in said
    assert any(row.split() == ["probe", "-", "-", "-"] for row in said.splitlines())
    assert "assume that 50 % of all models" in said
    rows = list(csv.DictReader(StringIO(to_csv(table(tmp_path)))))
    by = {row["detector"]: row for row in rows if not row["by"]}
    assert (by["race"]["probabilities"], by["probe"]["probabilities"], by["probe"]["brier"]) == ("3", "0", "")
    assert float(by["race"]["cross_entropy_low"]) <= float(by["race"]["cross_entropy"])
    told = json.loads(json.dumps(to_json(table(tmp_path)), allow_nan=False))
    assert told["prior"] == 0.5
    assert [held["backdoored"]["trials"] for held in told["zoos"][0]["cells"][0]["forecast"]["reliability"]] == [2, 1]
    monkeypatch.setattr("studies.scan.probability.CALIBRATED", ())
    assert "Brier score  " not in text(table(tmp_path), 120)


def test_another_prior_moves_every_probability(calibrated: None, tmp_path: Path) -> None:
    rare = table(tmp_path, 0.1).zoos[0].cells[0].forecast
    assert [b.mean for b in rare.reliability] == pytest.approx(
        [of_verdict(KNOWN, verdict).at(0.1).value for verdict in ("clean", "backdoored")]
    )
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        table(tmp_path, 1.0)


def test_todays_calibration_goes_before_what_a_line_says(calibrated: None) -> None:
    assert chance_of(line(1, "backdoored", probability=0.7, **OF_AUTO), 0.5) == pytest.approx(FLAGGED)
    assert chance_of(line(1, "backdoored", probability=0.7), 0.5) == pytest.approx(0.7)
    assert chance_of(line(1, "backdoored", probability=0.7), 0.1) == pytest.approx(0.07 / (0.07 + 0.27))
    assert chance_of(line(1, "backdoored"), 0.5) is None
    staged = OF_AUTO | {"config": AUTO | {"stages": [{}]}, "rule_limit": None}
    assert chance_of(line(0, "clean", probability=0.2, **staged), 0.5) is None
