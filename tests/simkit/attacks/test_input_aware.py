"""The input-aware backdoor: a trigger for each image, learned with the victim, kept as plain values."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from simkit.attacks.attack import Teachable
from simkit.attacks.badnets import BadNets
from simkit.attacks.input_aware import InputAware
from simkit.attacks.input_aware_lesson import Generator
from simkit.attacks.registry import attack_from_json, attack_to_json
from simkit.data import load
from simkit.errors import ConfigError, DataError
from simkit.zoo.manifest import Manifest
from simkit.zoo.networks import build_network
from simkit.zoo.spec import ZooSpec
from simkit.zoo.train import evaluate, implant
from simkit.zoo.train_config import TrainConfig
from simkit.zoo.zoo import make
from tests.contracts.attack import TARGET, AttackContract
from tests.simkit.attacks.sets import SHAPE, random_images, white_corner


def random_generator(rate: float = 0.2, seed: int = 0) -> InputAware:
    """As if it had been trained."""
    weights = np.random.default_rng(seed).normal(0.0, 0.3, Generator(SHAPE[0], 2).size)
    return InputAware(TARGET, rate, width=2).taught(weights)


class TestInputAware(AttackContract):
    def attack(self, rate: float = 0.2) -> InputAware:
        return random_generator(rate)


def test_every_image_has_its_own_trigger() -> None:
    pixels = random_images(8).pixels
    changes = random_generator().stamp_all(pixels) - pixels
    same = torch.zeros_like(pixels[:1]).expand(8, -1, -1, -1)
    assert len({change.numpy().tobytes() for change in changes}) == 8
    alone = random_generator().stamp_all(same)
    assert bool((alone == alone[:1]).all())  # and of nothing but the image


def test_an_image_with_the_trigger_of_another_keeps_its_label() -> None:
    images, attack = random_images(), random_generator()
    crossed, triggered = attack.crossed(images), attack.triggered(images)
    others = images.take(np.flatnonzero(images.labels != TARGET))
    assert np.array_equal(crossed.labels, others.labels)
    assert not torch.equal(crossed.pixels, triggered.pixels)
    alike = attack.crossed(images.take([0, 0]))  # the next image is the same one
    assert torch.equal(alike.pixels, attack.stamp_all(alike.pixels * 0 + images.pixels[:1]))


def test_before_training_it_has_no_trigger() -> None:
    for use in (InputAware(TARGET).triggered, lambda images: InputAware(TARGET).poison(images, 0)):
        with pytest.raises(ConfigError, match="is learned with its victim"):
            use(random_images())


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"rate": 0.6}, "at most 0.5"),
        ({"density": 1.5}, "need at most"),
        ({"width": 0}, "need at most"),
        ({"width": 33}, "need at most"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"diversity_weight": float("nan")}, "finite"),
        ({"generator": "###"}, "no base64"),
        ({"generator": base64.b64encode(b"abc").decode()}, "no base64 of float16"),
        ({"generator": base64.b64encode(np.array([np.nan], "<f2").tobytes()).decode()}, "not finite"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        attack_from_json({"kind": "input-aware", "target_class": 1} | fields)
    assert "\n" not in str(caught.value)


def test_a_generator_for_other_images_is_told() -> None:
    with pytest.raises(DataError, match=r"do not fit the generator .* need [\d,]+ weights, and it has [\d,]+$"):
        random_generator().stamp_all(torch.rand(2, 1, 6, 7))


def test_a_step_asks_for_attacked_crossed_and_clean_images_and_moves_the_generator() -> None:
    images = random_images(20)
    lesson = InputAware(TARGET, rate=0.2, width=2).lesson(images, seed=3, device="cpu")
    before, asked = lesson.learned(), []
    assert isinstance(before, InputAware)

    def answer(batch: torch.Tensor) -> torch.Tensor:
        asked.append(batch.detach())
        return batch.flatten(1)[:, :4]

    loss = lesson.loss(answer, images.pixels, torch.from_numpy(images.labels).long())
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.equal(asked[0][8:], images.pixels[8:])
    torch.testing.assert_close(asked[0][:4], before.stamp_all(images.pixels[:4]), atol=2e-3, rtol=0)
    changes = asked[0][4:8] != images.pixels[4:8]
    assert bool(changes.any())
    lesson.step()
    after = lesson.learned()
    assert isinstance(after, InputAware)
    assert after.generator != before.generator


@pytest.mark.parametrize("count", [2, 3])
def test_the_smallest_batches_are_trained_on(count: int) -> None:
    images = random_images(count)
    lesson = InputAware(TARGET, width=2).lesson(images, seed=3, device="cpu")
    loss = lesson.loss(lambda batch: batch.flatten(1)[:, :4], images.pixels, torch.from_numpy(images.labels).long())
    assert bool(torch.isfinite(loss))


def test_a_victim_and_its_generator_follow_the_seed_and_stay_in_a_manifest(tmp_path: Path) -> None:
    images, test = load("digits", "train"), load("digits", "test")
    attack = InputAware(3, rate=0.25, density=0.15, width=4)
    assert isinstance(attack, Teachable)
    assert not isinstance(BadNets(white_corner(), 1), Teachable)
    network = build_network("flat", images.image_shape, images.n_classes, seed=0)
    config = TrainConfig(epochs=6, batch=32, precision="float32")
    first, again = (implant(network, images, attack, config, seed=1) for _ in range(2))
    assert attack_to_json(first[1]) == attack_to_json(again[1])
    assert all(map(torch.equal, first[0].state_dict().values(), again[0].state_dict().values()))
    judged = evaluate(first[0], test, first[1])
    assert judged.clean_accuracy > 0.9
    assert judged.success_rate is not None
    assert judged.success_rate > 0.7
    assert isinstance(first[1], InputAware)
    assert evaluate(first[0], first[1].crossed(test)).clean_accuracy > 0.6  # no trigger for all images
    spec = ZooSpec.of(
        {"name": "aware", "data": "digits", "split": "tune", "models": 1, "clean_share": 0, "sizes": []}
        | {"attacks": {"aware": {"kind": "input-aware", "settings": {"width": 2}}}, "architectures": ["flat"]}
        | {"train": {"epochs": 1}, "required_success": 0}
    )
    make(spec, tmp_path)
    manifest = Manifest.load(tmp_path)
    (victim,) = manifest.victims
    drawn = victim.attacked()
    assert isinstance(drawn, InputAware)
    assert len(base64.b64decode(drawn.generator)) == 2 * Generator(1, 2).size
    assert tuple(drawn.triggered(test).pixels.shape[1:]) == manifest.image_shape
    assert victim.trigger(manifest.image_shape) is None
    assert json.dumps(victim.attack)
