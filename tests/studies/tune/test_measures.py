"""What a trial's scans come to: known answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from simkit.zoo.manifest import Manifest, Victim
from studies.tune.measures import auroc


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
