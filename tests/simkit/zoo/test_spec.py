"""The zoo's spec: files, ranges, quotas and the rule of the strata."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkit.errors import ConfigError
from simkit.zoo.spec import SEEDS_A_SPLIT, ZooSpec


def spec(**fields: Any) -> ZooSpec:
    """A valid spec but for `fields`."""
    return ZooSpec.of({"name": "z", "data": "digits", "split": "tune", "models": 8} | fields)


TOML = """
name = "small"
data = "digits"
split = "report"
models = 12
architectures = ["conv4", "flat"]
sizes = [2, 3]

[train]
epochs = 3
precision = "float32"
"""


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    toml, other = tmp_path / "zoo.toml", tmp_path / "zoo.json"
    toml.write_text(TOML)
    first = ZooSpec.load(toml)
    other.write_text(first.model_dump_json())
    assert ZooSpec.load(other) == first
    assert (first.models, first.train.epochs, first.train.batch, first.sizes) == (12, 3, 128, (2, 3))


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("zoo.toml", "name = ", "zoo.toml: "),
        ("zoo.json", "{", "zoo.json: "),
        ("zoo.json", "[]", "zoo.json: zoo spec: the whole"),
        ("zoo.toml", TOML + "epoch = 3", r"train\.epoch"),
        ("zoo.toml", 'models = "many"', r"zoo spec: name: Field required \(and 3 more\)"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=complaint) as caught:
        ZooSpec.load(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        ZooSpec.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"models": 0}, "models"),
        ({"name": "../up"}, "name"),
        ({"split": "test"}, "split"),
        ({"architectures": ["vgg"]}, "no architecture 'vgg'"),
        ({"architectures": []}, "architectures"),
        ({"clean_share": 1.5}, "clean_share"),
        ({"clean_share": float("nan")}, "clean_share"),
        ({"sizes": [2, 2]}, "twice"),
        ({"sizes": []}, "no sizes or attacks"),
        ({"sizes": [0]}, "sizes"),
        ({"kinds": ["striped"]}, "kinds"),
        ({"rate": 0.0}, "rate"),
        ({"train": {"epochs": 0}}, "0 epochs"),
        ({"required_success": 2}, "required_success"),
        ({"modles": 3}, "modles"),
        ({"train_of": {"vgg": {}}}, "no architecture 'vgg'"),
        ({"train_of": {"conv4": {"train_images": 5}}}, "train_images is the same for all"),
        ({"attacks": {"2x2": {"kind": "warping"}}}, "'2x2' is a stratum already"),
        ({"attacks": {"bent": {"kind": "bending"}}}, "no attack 'bending'"),
        ({"attacks": {"a b": {"kind": "warping"}}}, "attacks"),
    ],
)
def test_settings_outside_their_range_are_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        spec(**fields)
    assert "\n" not in str(caught.value)


def test_the_quotas_of_the_slides() -> None:
    cifar10 = spec(models=200)
    assert cifar10.quotas() == {"clean": 50, "1x1": 50, "2x2": 50, "3x3": 50}
    assert spec(models=172).quotas() == {"clean": 43, "1x1": 43, "2x2": 43, "3x3": 43}
    assert spec(models=8).quotas() == {"clean": 2, "1x1": 2, "2x2": 2, "3x3": 2}
    assert spec(models=6, clean_share=0.25).quotas() == {"clean": 2, "1x1": 2, "2x2": 1, "3x3": 1}
    assert spec(models=3, clean_share=1, sizes=[]).quotas() == {"clean": 3}


def test_attacks_are_strata_beside_the_patches() -> None:
    zoo = spec(models=8, sizes=[2], attacks={"bent": {"kind": "warping"}, "waves": {"kind": "sinusoidal"}})
    assert zoo.quotas() == {"clean": 2, "2x2": 2, "bent": 2, "waves": 2}
    assert {name: draw.kind for name, draw in zoo.draws().items()} == {
        "2x2": "badnets",
        "bent": "warping",
        "waves": "sinusoidal",
    }


def test_an_architecture_may_have_a_training_of_its_own() -> None:
    zoo = spec(architectures=["conv4", "flat"], train={"epochs": 2}, train_of={"flat": {"epochs": 9, "augment": True}})
    assert (zoo.training("conv4").epochs, zoo.training("flat").epochs, zoo.training("flat").augment) == (2, 9, True)


@given(st.integers(1, 40), st.floats(0.0, 1.0), st.integers(1, 4), st.integers(0, 100))
def test_each_block_of_indices_fills_the_quotas(models: int, clean_share: float, sizes: int, seed: int) -> None:
    zoo = spec(models=models, clean_share=clean_share, sizes=list(range(1, sizes + 1)), seed=seed)
    quotas = zoo.quotas()
    assert sum(quotas.values()) == models
    assert min(quotas.values()) >= 0
    for block in (0, 3):
        counted = Counter(zoo.stratum(i) for i in range(block * models, (block + 1) * models))
        assert counted == {name: quota for name, quota in quotas.items() if quota}


def test_the_strata_are_in_no_order_that_gives_them_away() -> None:
    orders = {tuple(spec(seed=seed).stratum(i) for i in range(8)) for seed in range(5)}
    assert len(orders) == 5


def test_no_two_splits_or_seeds_share_a_model_seed() -> None:
    zoos = [spec(split=split, seed=seed) for split in ("tune", "calibrate", "report") for seed in range(3)]
    ranges = sorted((zoo.model_seed(0), zoo.model_seed(SEEDS_A_SPLIT - 1)) for zoo in zoos)
    assert all(last < first for (_, last), (first, _) in pairwise(ranges))
    with pytest.raises(ConfigError, match="no seed for model"):
        zoos[0].model_seed(SEEDS_A_SPLIT)
