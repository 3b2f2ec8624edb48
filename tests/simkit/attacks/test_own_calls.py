"""What an attack of the user's own does wrong when it is called is told in one line, before a victim is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from simkit.attacks.attack import Attack
from simkit.attacks.badnets import BadNets
from simkit.attacks.own import is_own
from simkit.attacks.own_calls import poisoned, triggered
from simkit.attacks.own_trial import try_out
from simkit.attacks.registry import ATTACKS, check_fits
from simkit.attacks.several import Several
from simkit.errors import ConfigError, DataError
from simkit.zoo import processes
from simkit.zoo.networks import build_network
from simkit.zoo.spec import ZooSpec
from simkit.zoo.train import evaluate, implant
from simkit.zoo.train_config import TrainConfig
from simkit.zoo.workshop import Workshop
from simkit.zoo.zoo import make
from tests.simkit.attacks.own_attacks import Inverted
from tests.simkit.attacks.sets import N_CLASSES, SHAPE, random_images, white_corner
from tests.simkit.attacks.wrong_attacks import (
    Adding,
    Greedy,
    InPlaceStamp,
    Noise,
    Sources,
    TrueLabels,
    Wrong,
    WrongLesson,
)

HERE = "tests.simkit.attacks.wrong_attacks"

COMPLAINTS = {
    "tensors": (ConfigError, "changed the images that it was given, which other victims are trained"),
    "arrays": (ConfigError, "changed the images that it was given"),
    "labels": (ConfigError, "changed the images that it was given"),
    "shrunk": (ConfigError, r"returned images \(3, 5, 7\); the data are \(3, 6, 7\)"),
    "brightened": (DataError, r"^[^:]*:Wrong: (poison|triggered) of random: pixels are from 1"),
    "brightened later": (DataError, "returned images that do not count: pixels are NaN"),
    "more classes": (ConfigError, "returned images of 5 classes; the data have 4"),
    "unlabelled": (ConfigError, "returned [0-9]+ images of [0-9]+ without a label"),
    "pair": (ConfigError, "returned tuple; it must return an ImageSet"),
    "index": (ConfigError, "raised IndexError: index 1000000 is out of bounds"),
    "two lines": (ConfigError, "raised RuntimeError: first$"),
    "exit": (ConfigError, "raised SystemExit: bye"),
    "settings": (ConfigError, "Wrong: (poison|triggered) of random: no such level"),
    "no image": (DataError, "of random: images of 4 classes do not fit an attack on class 99"),
}


@pytest.mark.parametrize("where", ["poison", "triggered"])
@pytest.mark.parametrize("way", COMPLAINTS)
def test_what_it_does_wrong_is_told_with_its_name_and_its_method(way: str, where: str) -> None:
    kind, complaint = COMPLAINTS[way]
    attack = Wrong(1, way=way, where=where)
    with pytest.raises(kind, match=complaint) as called:
        poisoned(attack, random_images(), 0) if where == "poison" else triggered(attack, random_images())
    assert str(called.value).startswith(f"attack {HERE}:Wrong: {where} of random")
    assert "\n" not in str(called.value)
    with pytest.raises(kind, match=complaint):
        try_out(attack, random_images(), random_images(), 0)


def test_a_trial_leaves_the_images_alone_and_takes_what_is_right() -> None:
    images, held_out = random_images(), random_images(40)
    before = images.sha256(), held_out.sha256()
    try_out(Inverted(1), images, held_out, 0)
    for where in ("poison", "triggered"):
        with pytest.raises(ConfigError, match="changed the images"):
            try_out(Wrong(1, way="tensors", where=where), images, held_out, 0)
    assert (images.sha256(), held_out.sha256()) == before


@pytest.mark.parametrize(
    ("attack", "method"), [(Wrong(1, way="drawn"), "Wrong: poison"), (Noise(1), "Noise: triggered")]
)
def test_what_is_no_function_of_its_arguments_is_refused_before_training(attack: Attack, method: str) -> None:
    complaint = f"{HERE}:{method} returned something else when it was called again .* draw from simkit.seeding"
    with pytest.raises(ConfigError, match=complaint):
        try_out(attack, random_images(), random_images(), 0)


def test_an_attack_that_needs_more_images_than_a_trial_is_tried_on_all() -> None:
    with pytest.raises(ConfigError, match="raised ValueError: Cannot take a larger sample"):
        try_out(Greedy(1), random_images(400), random_images(), 0)
    images = random_images(600)
    before = images.sha256()
    try_out(Greedy(1), images, random_images(), 0)
    assert images.sha256() == before


def test_test_images_that_keep_their_class_are_told_before_training() -> None:
    with pytest.raises(ConfigError, match=r"triggered of random labels 75 of 100 .*target class 1, the first with 0;"):
        try_out(TrueLabels(1), random_images(), random_images(), 0)
    network = build_network("flat", SHAPE, N_CLASSES, 0)
    with pytest.raises(ConfigError, match="the class that it should become"):
        evaluate(network, random_images(), TrueLabels(1))


def test_a_stamp_in_place_is_told_as_the_method_that_called_it() -> None:
    with pytest.raises(ConfigError, match="InPlaceStamp: triggered of random changed the images"):
        triggered(InPlaceStamp(1), random_images())


def test_one_of_several_is_held_to_the_same() -> None:
    built_in = BadNets(white_corner(), 2)
    for wrong, complaint in (
        (Wrong(1, way="tensors"), "Wrong: poison of random changed the images"),
        (Wrong(1, way="shrunk", where="triggered"), "Wrong: triggered of random returned images"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            try_out(Several((wrong, built_in)), random_images(), random_images(), 0)
    with pytest.raises(ConfigError, match="Wrong: poison of random changed the images"):
        Several((Wrong(1, way="tensors"), built_in)).poison(random_images(), 0)
    with pytest.raises(DataError, match="attack 0 of several returned 101 of 100 images"):
        Several((Adding(1), built_in)).poison(random_images(), 0)


def test_attacks_of_this_package_are_not_the_users() -> None:
    assert not any(is_own(object.__new__(attack_type)) for attack_type in ATTACKS.values())
    assert is_own(Inverted(1))


def test_a_field_called_sources_may_be_anything() -> None:
    check_fits(Sources(1), N_CLASSES)


def _implanted(attack: Attack) -> Any:
    network = build_network("flat", SHAPE, N_CLASSES, 0)
    return implant(network, random_images(), attack, TrainConfig(epochs=1), 0)


def test_what_a_trial_did_not_see_is_told_when_the_victim_is_trained() -> None:
    late = Wrong(1, way="arrays", above=100)
    try_out(late, random_images(99), random_images(99), 0)
    with pytest.raises(ConfigError, match="Wrong: poison of random changed the images"):
        _implanted(late)


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("lesson", "lesson of random raised IndexError: nothing to learn from"),
        ("images", "lesson of random changed the images"),
        ("loss", "loss of its lesson raised KeyError: 'loss'"),
        ("many", r"loss of its lesson returned a tensor \(100,\); it must return one number"),
        ("number", "loss of its lesson returned float; it must return one number"),
        ("step", "step of its lesson raised KeyError"),
        ("learned", "learned of its lesson raised KeyError"),
        ("nothing", "learned of its lesson returned NoneType, which is no attack: it has no method poison"),
    ],
)
def test_a_lesson_is_held_to_its_protocol(where: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=f"^attack {HERE}:WrongLesson: {complaint}"):
        _implanted(WrongLesson(1, where=where))


def test_a_lesson_that_keeps_to_it_goes_through() -> None:
    _, learned = _implanted(WrongLesson(1, where="right"))
    assert learned == WrongLesson(1, where="right")


def _spec(**settings: Any) -> ZooSpec:
    attack = {"kind": f"{HERE}:Wrong", "settings": settings}
    return ZooSpec.of(
        {"name": "own", "data": "digits", "split": "tune", "models": 4, "clean_share": 0.5, "sizes": []}
        | {"attacks": {"mine": attack}, "architectures": ["flat"], "train": {"epochs": 1}, "required_success": 0}
    )


@pytest.mark.parametrize("way", ["tensors", "shrunk", "brightened", "pair", "index", "drawn"])
def test_a_zoo_tells_it_before_its_first_victim(way: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, DataError), match=f"^zoo own, stratum mine: attack {HERE}:Wrong: poison"):
        make(_spec(way=way), tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_no_victim_is_made_of_images_that_an_attack_changed(tmp_path: Path) -> None:
    """The trial has too few images to see it; the victims of the manifest are those of a zoo that nothing spoiled."""
    with pytest.raises(ConfigError, match="changed the images"):
        make(_spec(way="tensors", above=1000), tmp_path / "spoiled")
    right = make(_spec(above=10**6, way="tensors"), tmp_path / "right")
    manifest = json.loads((tmp_path / "spoiled" / "manifest.json").read_text())
    made = {victim["index"]: victim["sha256"] for victim in manifest["victims"]}
    assert made == {victim.index: victim.sha256 for victim in right.victims if victim.index in made}
    assert len(made) < 4


def test_a_worker_reads_the_images_again_after_an_attack_changed_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(self: Workshop, index: int) -> None:
        self.images.pixels.zero_()
        raise ConfigError("changed the images")

    monkeypatch.setattr(Workshop, "make", spoil)
    with pytest.raises(ConfigError, match="changed the images"):
        processes._make(_spec(above=10**6), tmp_path, 0)
    workshop = processes._workshop(_spec(above=10**6).model_dump_json(), tmp_path)
    processes._workshop.cache_clear()
    assert not torch.equal(workshop.images.pixels, torch.zeros_like(workshop.images.pixels))
