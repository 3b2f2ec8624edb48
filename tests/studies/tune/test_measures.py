"""What a trial's scans come to: known answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from simkit.zoo.manifest import Manifest, Victim
from studies.tune.objective import auroc, summary
from tests.studies.results.table.made import line


@pytest.fixture
def kinds(demo_victims: Path) -> dict[str, Victim]:
    return {victim.truth: victim for victim in Manifest.load(demo_victims / "zoo").victims}


@pytest.mark.parametrize(
    ("backdoored", "clean", "area"),
    [
        ([2.0, 3.0], [0.0, 1.0], 1.0),
        ([0.0, 1.0], [2.0, 3.0], 0.0),
        ([1.0, 3.0], [0.0, 2.0], 0.75),
        ([1.0, 1.0], [1.0], 0.5),
        ([2.0, None], [1.0], 0.5),
        ([None], [1.0], 0.0),
        ([None], [None], 0.5),
        ([], [1.0], 0.5),
    ],
)
def test_the_area_under_the_curve(
    kinds: dict[str, Victim], backdoored: list[float | None], clean: list[float | None], area: float
) -> None:
    scored = [(kinds["backdoored"], score) for score in backdoored] + [(kinds["clean"], score) for score in clean]
    assert auroc(scored) == area


def test_a_scan_without_a_verdict_accuses_nobody_and_counts_among_the_victims(kinds: dict[str, Victim]) -> None:
    victims = [kinds["clean"]] * 4 + [kinds["backdoored"]] * 2
    lines = [line(0, "backdoored", truth="clean"), line(1, "backdoored", truth="backdoored")]
    told = summary(lines, victims)
    assert (told["scans"], told["fpr"], told["tpr"], told["accuracy"]) == (2, 0.25, 0.5, 0.5)
    nothing = summary([], victims[:4])
    assert (nothing["fpr"], nothing["tpr"], nothing["accuracy"], nothing["mean_queries"]) == (0.0, None, None, None)
