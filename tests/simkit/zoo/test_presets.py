"""The preset zoos: who is in them, and that their splits share no seed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from simkit.attacks.registry import target_classes
from simkit.data import ImageShape
from simkit.errors import ConfigError
from simkit.zoo.presets import ZOO_PRESETS, zoo_preset
from simkit.zoo.spec import SEEDS_A_SPLIT
from simkit.zoo.workshop import plan

SHAPES: dict[str, tuple[ImageShape, int]] = {
    "cifar10": ((3, 32, 32), 10),
    "gtsrb": ((3, 32, 32), 43),
    "imagenette": ((3, 96, 96), 10),
}


@pytest.mark.parametrize(("name", "victims", "clean"), [("cifar10", 60, 15), ("gtsrb", 44, 11), ("imagenette", 20, 5)])
def test_a_report_zoo_is_a_quarter_clean_and_even_in_sizes_and_targets(name: str, victims: int, clean: int) -> None:
    spec = zoo_preset(name, "report")
    plans = [plan(spec, i, *SHAPES[name]) for i in range(spec.models)]
    counted = Counter(p.stratum for p in plans)
    assert (spec.models, counted["clean"]) == (victims, clean)
    assert len(counted) == 4
    assert max(n for s, n in counted.items() if s != "clean") - min(counted.values()) <= victims // 4
    assert max(counted[f"{s}x{s}"] for s in spec.sizes) - min(counted[f"{s}x{s}"] for s in spec.sizes) <= 0
    targets = Counter(target_classes(p.attack)[0] for p in plans if p.attack is not None)
    assert max(targets.values()) <= 3 * -(-(victims - clean) // (3 * SHAPES[name][1]))
    assert {p.architecture for p in plans} == {"conv4", "flat", "resnet9"}


@pytest.mark.parametrize("name", ZOO_PRESETS)
def test_splits_share_no_seed_and_one_net_is_trained_longer(name: str) -> None:
    specs = [zoo_preset(name, split) for split in ("tune", "calibrate", "report")]
    assert len({spec.first_seed // SEEDS_A_SPLIT for spec in specs}) == 3
    assert len({spec.name for spec in specs}) == 3
    for spec in specs:
        assert spec.training("resnet9").augment
        assert spec.training("resnet9").epochs > spec.training("conv4").epochs


def test_traffic_signs_are_not_mirrored() -> None:
    assert not zoo_preset("gtsrb", "report").training("resnet9").flips
    assert not zoo_preset("gtsrb", "report", size="paper").train.flips


def test_number_and_data_can_be_given() -> None:
    spec = zoo_preset("cifar10", "tune", models=3, data="digits")
    assert (spec.models, spec.data, spec.name) == (3, "digits", "cifar10-tune")


@pytest.mark.parametrize(("name", "models"), [("cifar10", 200), ("gtsrb", 172), ("imagenette", 200)])
def test_the_paper_size_is_what_the_slides_count(name: str, models: int) -> None:
    spec = zoo_preset(name, "report", size="paper")
    assert (spec.models, spec.quotas()["clean"], spec.architectures) == (models, models // 4, ("resnet18",))
    assert spec.training("resnet18").device == "cuda"


@pytest.mark.parametrize(("name", "models"), [("cifar10", 200), ("gtsrb", 172), ("imagenette", 60)])
def test_a_fleet_has_the_victims_of_the_small_zoo_in_larger_numbers(name: str, models: int) -> None:
    small, fleet = zoo_preset(name, "report"), zoo_preset(name, "report", size="fleet")
    assert (fleet.models, fleet.quotas()["clean"], fleet.name) == (models, models // 4, f"{name}-report-fleet")
    assert fleet == small.model_copy(update={"models": models, "name": fleet.name})
    assert zoo_preset(name, "tune", size="fleet").models == zoo_preset(name, "tune").models


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("mnist", "tune"), "no zoo preset 'mnist'; choose from cifar10"),
        (("cifar10", "test"), "no split 'test'"),
        (("cifar10", "tune", None, None, "huge"), "no size 'huge'"),
        (("cifar10", "tune", 0), "models"),
    ],
)
def test_what_there_is_not_is_refused(arguments: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        zoo_preset(*arguments)
