"""What model number i of a zoo is, before anything is trained."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simkit.attacks.badnets import BadNets
from simkit.attacks.registry import attack_to_json, target_classes
from simkit.data import ImageShape
from simkit.errors import DataError
from simkit.zoo.networks import NETWORKS
from simkit.zoo.spec import ZooSpec
from simkit.zoo.workshop import Plan, Workshop, plan
from tests.simkit.data.test_parquet import NAMES, PIXELS, png, write

SHAPE: ImageShape = (3, 32, 32)


def spec(**fields: Any) -> ZooSpec:
    return ZooSpec.of({"name": "z", "data": "digits", "split": "tune", "models": 8, "sizes": [2, 4]} | fields)


def _told(first: Plan) -> tuple[Any, ...]:
    return first.seed, first.stratum, first.architecture, None if first.attack is None else attack_to_json(first.attack)


def test_a_plan_depends_on_nothing_but_spec_and_index() -> None:
    backwards = [plan(spec(), i, SHAPE, 10) for i in reversed(range(12))][::-1]
    for index, first in enumerate(backwards):
        assert _told(first) == _told(plan(spec(), index, SHAPE, 10))
        assert (first.attack is None) == (first.stratum == "clean")
        if first.attack is not None:
            assert isinstance(first.attack, BadNets)
            assert first.attack.trigger.mask_size == int(first.stratum[0]) ** 2


def test_plans_vary() -> None:
    plans = [plan(spec(models=60, architectures=list(NETWORKS)), i, SHAPE, 10) for i in range(60)]
    attacks = [p.attack for p in plans if isinstance(p.attack, BadNets)]
    assert {p.architecture for p in plans} == set(NETWORKS)
    assert len(attacks) == 45
    assert len({a.trigger.pattern.tobytes() for a in attacks}) == 45
    colours = {len(np.unique(a.trigger.pattern[:, a.trigger.mask[0] > 0], axis=1)[0]) > 1 for a in attacks}
    assert colours == {False, True}


def test_targets_are_spread_evenly_over_classes_and_sizes() -> None:
    zoo = spec(models=80, sizes=[1, 2, 3])
    plans = [plan(zoo, i, SHAPE, 10) for i in range(160)]
    for size in ("1x1", "2x2", "3x3"):
        counted = Counter(target_classes(p.attack)[0] for p in plans if p.attack is not None and p.stratum == size)
        assert counted.total() == 40
        assert set(counted.values()) == {4}
    one_after_the_other = [target_classes(p.attack)[0] for p in plans if p.attack is not None]
    assert one_after_the_other != sorted(one_after_the_other)


def test_splits_that_name_their_classes_differently_are_refused(tmp_path: Path) -> None:
    for split, names in (("train", NAMES), ("test", NAMES[::-1])):
        write(tmp_path / "set" / f"{split}.parquet", [png(PIXELS[0])] * 3, [0, 1, 2], names)
    with pytest.raises(DataError, match="train and test split name their classes differently"):
        Workshop.open(spec(data=str(tmp_path / "set")), tmp_path / "zoo")
