"""Training: it learns, it is reproducible, it leaves its arguments alone; and the two figures it is judged by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from simkit.attacks.badnets import BadNets
from simkit.attacks.patches import patch_trigger
from simkit.attacks.several import Several
from simkit.data import ImageSet, load
from simkit.errors import ConfigError, DataError
from simkit.seeding import stream
from simkit.zoo.networks import build_network
from simkit.zoo.train import Evaluation, batches, evaluate, one_cycle, train
from simkit.zoo.train_config import TrainConfig

QUICK = TrainConfig(epochs=1, batch=32, precision="float32")


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return load("digits", "train", limit=300)


def _network(seed: int = 0) -> nn.Module:
    return build_network("flat", (1, 8, 8), 10, seed)


def _state(model: nn.Module) -> list[bytes]:
    return [value.contiguous().numpy().tobytes() for value in model.state_dict().values()]


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_it_learns_the_digits(precision: Any) -> None:
    config = TrainConfig(epochs=4, batch=64, precision=precision)
    model = train(_network(), load("digits", "train"), config, seed=0)
    assert evaluate(model, load("digits", "test")).clean_accuracy > 0.9
    assert not model.training


@pytest.mark.parametrize("augment", [False, True])
def test_equal_seeds_give_equal_weights(digits: ImageSet, augment: bool) -> None:
    config = TrainConfig(epochs=1, batch=32, augment=augment)
    first, again, other = (_state(train(_network(), digits, config, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("config", [QUICK, replace(QUICK, augment=True)])
def test_no_step_of_an_epoch_sends_anything_to_the_device(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, send = list[torch.Tensor](), torch.Tensor.to

    def counted(tensor: torch.Tensor, *where: Any) -> torch.Tensor:
        sent.append(tensor)
        return send(tensor, *where)

    monkeypatch.setattr(torch.Tensor, "to", counted)
    few = list(batches(torch.empty(64, 1, 8, 8, device="meta"), config, 0, 0))
    for_few = len(sent)
    many = list(batches(torch.empty(640, 1, 8, 8, device="meta"), config, 0, 0))
    assert (len(few), len(many)) == (2, 20)
    assert 0 < len(sent) - for_few == for_few
    assert {tensor.device.type for batch in many for tensor in batch} == {"meta"}


def test_the_images_of_an_epoch_are_those_of_the_step_by_step_draws(digits: ImageSet) -> None:
    config, rng = replace(QUICK, augment=True), stream(7, "train", 3)
    order = rng.permutation(len(digits))
    for chosen, batch in batches(digits.pixels, config, 7, 3):
        mirrored = rng.random(len(chosen)) < 0.5
        down, right = (rng.integers(3, size=len(chosen)) for _ in range(2))
        assert np.array_equal(chosen, order[: len(chosen)])
        order = order[len(chosen) :]
        for place in range(len(chosen)):
            image = digits.pixels[chosen[place], 0].numpy()
            image = np.pad(image[:, ::-1] if mirrored[place] else image, 1, mode="reflect")
            assert np.array_equal(batch[place, 0], image[down[place] :, right[place] :][:8, :8])


def test_the_global_generator_has_no_say(digits: ImageSet) -> None:
    torch.manual_seed(1)
    first = _state(train(_network(), digits, QUICK, seed=0))
    torch.manual_seed(2)
    assert _state(train(_network(), digits, QUICK, seed=0)) == first


def test_the_network_given_is_not_changed(digits: ImageSet) -> None:
    network, pixels = _network(), digits.pixels.clone()
    train(network, digits, QUICK, seed=0)
    assert _state(network) == _state(_network())
    assert torch.equal(digits.pixels, pixels)


def test_augmentation_changes_the_training_but_not_the_images(digits: ImageSet) -> None:
    before = digits.sha256()
    config = TrainConfig(epochs=1, batch=32, precision="float32", augment=True)
    assert _state(train(_network(), digits, config, 0)) != _state(train(_network(), digits, QUICK, 0))
    assert digits.sha256() == before


def test_the_learning_rate_goes_up_and_down_once() -> None:
    shares = [one_cycle(step / 100) for step in range(101)]
    assert shares[0] == 0.0
    assert shares[25] == pytest.approx(1.0)
    assert shares[100] == pytest.approx(0.0, abs=1e-12)
    assert shares[:26] == sorted(shares[:26])
    assert shares[25:] == sorted(shares[25:], reverse=True)


def test_progress_counts_the_epochs(digits: ImageSet) -> None:
    seen: list[tuple[int, int]] = []
    train(_network(), digits.take(range(40)), TrainConfig(epochs=3), 0, lambda *done: seen.append(done))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_last_batch_of_one_image_is_left_out(digits: ImageSet) -> None:
    model = train(_network(), digits.take(range(33)), TrainConfig(epochs=1, batch=32), seed=0)
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


def test_one_image_is_too_few(digits: ImageSet) -> None:
    with pytest.raises(DataError, match="one image; training takes two or more"):
        train(_network(), digits.take([0]), TrainConfig(epochs=1), seed=0)


def test_a_loss_that_explodes_is_told(digits: ImageSet) -> None:
    with pytest.raises(ConfigError, match="lower learning_rate"):
        train(_network(), digits, TrainConfig(epochs=3, learning_rate=1e30, precision="float32"), seed=0)


@pytest.mark.parametrize(
    ("shape", "n_classes", "complaint"),
    [((1, 12, 12), 10, "cannot take images"), ((1, 8, 8), 5, r"10 classes, but the network answers \(1, 5\)")],
)
def test_a_network_for_other_images_is_refused(
    digits: ImageSet, shape: tuple[int, int, int], n_classes: int, complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        train(build_network("flat", shape, n_classes, 0), digits, QUICK, seed=0)


@pytest.mark.parametrize(
    "fields",
    [
        {"epochs": 0},
        {"batch": 1},
        {"train_images": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"weight_decay": -1.0},
        {"momentum": 1.0},
        {"precision": "float16"},
    ],
)
def test_settings_outside_their_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        TrainConfig(**fields)


class _Brightest(nn.Module):
    """Answers class 1 for an image with a white corner, else class 0 or 2 as the first pixel says."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        label = torch.where(images[:, 0, -1, -1] == 1.0, 1, torch.where(images[:, 0, 0, 0] > 0.5, 2, 0))
        return nn.functional.one_hot(label, 3).float()


def _planted() -> tuple[ImageSet, BadNets]:
    """Labels 0, 1, 2, 2: the model is right about the first and the last."""
    pixels = torch.zeros(4, 1, 4, 4)
    pixels[3, :, 0, 0] = 0.9
    images = ImageSet(pixels, np.array([0, 1, 2, 2], np.int32), ("a", "b", "c"), "planted")
    return images, BadNets(patch_trigger((1, 4, 4), 3, 3, np.ones((1, 1, 1), np.float32)), 1)


def test_the_two_figures_of_a_known_model() -> None:
    images, attack = _planted()
    assert evaluate(_Brightest(), images) == Evaluation(0.5, None)
    assert evaluate(_Brightest(), images, attack) == Evaluation(0.5, 1.0)
    dead = BadNets(patch_trigger((1, 4, 4), 1, 1, np.ones((1, 1, 1), np.float32)), 1)
    assert evaluate(_Brightest(), images, dead) == Evaluation(0.5, 0.0)


def test_success_is_not_counted_on_the_target_class() -> None:
    images, _ = _planted()
    white = BadNets(patch_trigger((1, 4, 4), 0, 0, np.ones((1, 1, 1), np.float32)), 2)
    assert evaluate(_Brightest(), images.take([0, 2]), white).success_rate == 1.0
    black = BadNets(patch_trigger((1, 4, 4), 0, 0, np.zeros((1, 1, 1), np.float32)), 0)
    assert evaluate(_Brightest(), images.take([0, 3]), black).success_rate == 1.0
    with pytest.raises(DataError, match="none to attack"):
        evaluate(_Brightest(), images.take([2, 3]), white)


def test_success_is_what_the_attack_itself_says_it_is() -> None:
    class FromFirstClass:
        """Source-specific: only images of class 0 are to become class 1."""

        def poison(self, images: ImageSet, seed: int) -> ImageSet:
            return images

        def triggered(self, images: ImageSet) -> ImageSet:
            of_source = images.take(np.flatnonzero(images.labels == 0))
            return ImageSet(torch.ones_like(of_source.pixels), of_source.labels + 1, images.classes, images.name)

    images, _ = _planted()
    assert evaluate(_Brightest(), images, FromFirstClass()) == Evaluation(0.5, 1.0)


def test_of_several_backdoors_the_least_success_counts() -> None:
    images, white = _planted()
    dead = BadNets(patch_trigger((1, 4, 4), 1, 1, np.ones((1, 1, 1), np.float32)), 1)
    assert evaluate(_Brightest(), images, Several((white, dead))) == Evaluation(0.5, 0.0)


def test_evaluation_keeps_the_mode() -> None:
    images, _ = _planted()
    model = _Brightest().train()
    evaluate(model, images)
    assert model.training


def test_a_device_that_does_not_exist_cannot_evaluate() -> None:
    with pytest.raises(ConfigError, match="'nowhere' cannot be used here"):
        evaluate(_Brightest(), _planted()[0], device="nowhere")


@pytest.mark.data
def test_it_learns_real_photographs(real_data: Any) -> None:
    images = load(real_data / "cifar10", "train", limit=2000)
    network = build_network("flat", images.image_shape, images.n_classes, 0)
    model = train(network, images, TrainConfig(epochs=2, batch=64), seed=0)
    assert evaluate(model, load(real_data / "cifar10", "test", limit=500)).clean_accuracy > 0.25
