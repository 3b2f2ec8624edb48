"""Training and evaluating one victim: on CPUs a pure function of images, config, seed and number of torch threads."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from oracles.errors import one_line
from simkit.attacks.attack import Answering, Attack, Lesson, Teachable
from simkit.attacks.own_calls import lesson_of, poisoned, triggered
from simkit.attacks.registry import check_stored
from simkit.attacks.several import parts_of
from simkit.data.images import ImageSet
from simkit.errors import ConfigError, DataError
from simkit.progress import OnProgress
from simkit.seeding import stream, subseed
from simkit.zoo.train_config import TrainConfig

_CHUNK = 250
"""Images per forward pass during evaluation."""

_WARM_UP = 0.25
"""Share of the steps in which the learning rate rises."""


@dataclass(frozen=True)
class Evaluation:
    """Clean accuracy and attack success rate (ASR), in [0, 1]; success_rate is None without an attack."""

    clean_accuracy: float
    success_rate: float | None


def train(
    network: nn.Module,
    images: ImageSet,
    config: TrainConfig,
    seed: int,
    progress: OnProgress | None = None,
    lesson: Lesson | None = None,
) -> nn.Module:
    """A trained copy of `network` in eval mode; the given network is not changed.

    network: images (N, C, H, W) to logits (N, n_classes). progress: called with (epochs done, epochs). lesson: of an
    attack that learns its trigger meanwhile, whose loss replaces the cross entropy. On CPUs equal
    arguments and torch threads give equal weights; accelerators do not guarantee this. Raises ConfigError if the loss
    is not finite or the device does not exist, DataError on a single image or if the network does not fit the images.
    """
    if len(images) < 2:
        raise DataError(f"{images.name}: one image; training takes two or more")
    model = copy.deepcopy(network).train()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
    _check_fit(model, images)
    device = _device(config.device)
    model.to(device)
    optimiser, schedule = _optimiser(model, len(images), config)
    pixels = images.pixels.contiguous(memory_format=torch.channels_last).to(device)
    labels = torch.from_numpy(images.labels).long().to(device)
    loss_of = _cross_entropy if lesson is None else lesson.loss

    def answer(batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            logits = model(batch)
        return logits.float()  # type: ignore[no-any-return]

    for epoch in range(config.epochs):
        for chosen, batch in batches(pixels, config, seed, epoch):
            loss = loss_of(answer, batch, labels[chosen])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            if lesson is not None:
                lesson.step()
        if not math.isfinite(last := loss.item()):
            raise ConfigError(f"the loss is {last} after epoch {epoch + 1}; lower learning_rate")
        if progress is not None:
            progress(epoch + 1, config.epochs)
    return model.cpu().eval()


def implant(
    network: nn.Module, images: ImageSet, attack: Attack, config: TrainConfig, seed: int
) -> tuple[nn.Module, Attack]:
    """A copy of `network` trained with a backdoor, and the attack, which may have learned its trigger meanwhile.

    images: unpoisoned. seed: of the victim, from which those of poisoning and training follow. Raises as `train`, and
    DataError if the images do not fit the attack, ConfigError if what it learned cannot be stored, or if an attack of
    the user's own changes `images` or returns what does not fit them.
    """
    training = subseed(seed, "zoo", "train")
    if not isinstance(attack, Teachable):
        return train(network, poisoned(attack, images, seed), config, training), attack
    _device(config.device)
    lesson = lesson_of(attack, images, subseed(seed, "zoo", "lesson"), config.device)
    trained, learned = train(network, images, config, training, lesson=lesson), lesson.learned()
    check_stored(learned)
    return trained, learned


def evaluate(model: nn.Module, images: ImageSet, attack: Attack | None = None, device: str = "cpu") -> Evaluation:
    """The clean accuracy on `images`, and the ASR of `attack` on the images to which it applies.

    With several backdoors it is the lowest ASR, since each of them must work. images: not used for training. device:
    where the model runs meanwhile; afterwards it is on the CPU, in the mode that it had. Raises DataError if the attack
    applies to no image, ConfigError if the device does not exist, and as `triggered` of `simkit.attacks.own_calls`.
    """
    model.to(_device(device))
    try:
        clean_accuracy = _accuracy(model, images, device)
        if attack is None:
            return Evaluation(clean_accuracy, None)
        rates = [_accuracy(model, triggered(part, images), device) for part in parts_of(attack)]
    finally:
        model.cpu()
    return Evaluation(clean_accuracy, min(rates))


def _cross_entropy(answer: Answering, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(answer(images), labels)


def _optimiser(
    model: nn.Module, images: int, config: TrainConfig
) -> tuple[torch.optim.SGD, torch.optim.lr_scheduler.LambdaLR]:
    optimiser = torch.optim.SGD(
        model.parameters(), config.learning_rate, config.momentum, weight_decay=config.weight_decay, nesterov=True
    )
    steps = config.epochs * _steps(images, config.batch)
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: one_cycle((step + 0.5) / steps))


def one_cycle(done: float) -> float:
    """The share of the peak learning rate after a share `done` of the steps: linear up, then half a cosine down to 0.

    torch's OneCycleLR divides by zero if a run has only a few steps.
    """
    if done < _WARM_UP:
        return done / _WARM_UP
    return 0.5 * (1.0 + math.cos(math.pi * (done - _WARM_UP) / (1.0 - _WARM_UP)))


def _steps(images: int, batch: int) -> int:
    """Steps per epoch. A last batch of one image is left out, since batch norm cannot be trained on it."""
    return images // batch + (images % batch > 1)


def batches(
    pixels: torch.Tensor, config: TrainConfig, seed: int, epoch: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(indices, images) of one shuffled epoch, on the device of the images.

    All draws are sent there at once, since a GPU that is sent some at every step waits for them.
    """
    rng, steps = stream(seed, "train", epoch), _steps(len(pixels), config.batch)
    order = torch.from_numpy(rng.permutation(len(pixels))[: steps * config.batch]).to(pixels.device)
    parts = torch.split(order, config.batch)
    if not config.augment:
        yield from ((chosen, pixels[chosen]) for chosen in parts)
        return
    drawn = [_draws(len(chosen), pixels.shape[2:], config.flips, rng) for chosen in parts]
    moves = torch.from_numpy(np.concatenate(drawn)).to(pixels.device)
    for chosen, each in zip(parts, torch.split(moves, config.batch), strict=True):
        yield chosen, _augmented(pixels[chosen], each, flips=config.flips)


def _draws(count: int, size: torch.Size, flips: bool, rng: np.random.Generator) -> np.ndarray:
    """How each image is changed, int64 (count, 3): whether it is mirrored, and its shifts from 0 to a quarter of its
    height and width."""
    mirrored = rng.random(count) < 0.5 if flips else np.zeros(count, bool)
    return np.stack([mirrored, *(rng.integers(2 * (side // 8) + 1, size=count) for side in size)], axis=1)


def _augmented(batch: torch.Tensor, moves: torch.Tensor, *, flips: bool) -> torch.Tensor:
    """Each image shifted by up to an eighth of its side, with mirrored borders, and flipped where `moves` says so."""
    count, _, height, width = batch.shape
    if flips:
        batch = torch.where((moves[:, 0] == 1)[:, None, None, None], batch.flip(3), batch)
    far = height // 8, width // 8
    padded = nn.functional.pad(batch, (far[1], far[1], far[0], far[0]), mode="reflect").permute(0, 2, 3, 1)
    rows, cols = (
        moves[:, [axis]] + torch.arange(side, device=batch.device) for axis, side in enumerate((height, width), 1)
    )
    each = torch.arange(count, device=batch.device)
    moved = padded[each[:, None, None], rows[:, :, None], cols[:, None, :]]
    return moved.permute(0, 3, 1, 2)  # channels-last in memory


def _device(name: str) -> torch.device:
    """The device. Raises ConfigError if this machine or this torch does not have it."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # an AssertionError where torch was built without it
        raise ConfigError(f"train.device {name!r} cannot be used here: {one_line(error)}; choose cpu") from error
    return torch.device(name)


def _check_fit(model: nn.Module, images: ImageSet) -> None:
    try:
        shape = tuple(_predict_logits(model, images.pixels[:1]).shape)
    except RuntimeError as error:
        raise DataError(f"{images.name}: the network cannot take images {images.image_shape}: {error}") from error
    if shape != (1, images.n_classes):
        raise DataError(f"{images.name}: {images.n_classes} classes, but the network answers {shape} for one image")


def _predict_logits(model: nn.Module, pixels: torch.Tensor, device: str = "cpu") -> torch.Tensor:
    """The logits on the CPU, by a model on `device`."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            placed = (chunk.contiguous(memory_format=torch.channels_last) for chunk in torch.split(pixels, _CHUNK))
            chunks = [model(chunk.to(device)) for chunk in placed]
    finally:
        model.train(training)
    return torch.cat(chunks).cpu()


def _accuracy(model: nn.Module, images: ImageSet, device: str) -> float:
    predicted = _predict_logits(model, images.pixels, device).argmax(dim=1)
    return float((predicted == torch.from_numpy(images.labels)).double().mean())
