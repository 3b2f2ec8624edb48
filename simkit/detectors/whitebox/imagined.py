"""Images from the weights alone: random images, changed by gradients until the model is sure of a given class.

This is model inversion in its plainest form. FreeEagle, a data-free detector, does the same to the activations of an
inner layer: random start, Adam, cross-entropy against each class (`optimize_inner_embedding` in
FuChong-cyber/Data-Free-Neural-Backdoor-Detector-FreeEagle, MLBackdoorDetection/backdoor_inspection_new.py). Here the
images themselves are optimised, since Neural Cleanse stamps triggers on images. The start is smooth by default: from
white noise the masks of target classes were larger on the zoo `cifar10-tune`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from simkit.data import ImageSet, ImageShape
from simkit.detectors.whitebox.white_model import WhiteModel
from simkit.errors import ConfigError
from simkit.search.noise import Kind, random_image
from simkit.seeding import stream

NAME = "imagined"
"""The name of these images in messages."""


@dataclass(frozen=True)
class ImaginedConfig:
    """How images are made. Raises ConfigError outside the ranges."""

    images: int = 256
    """Number of images, in turn of every class."""
    start: Kind = "smooth"
    """Kind of the random images: `white`, or `smooth` like natural images."""
    steps: int = 50
    """Most steps of Adam per image."""
    learning_rate: float = 0.01
    """Learning rate of Adam, for values in 0..1."""
    enough: float = 0.9
    """Probability of its class at which an image is not changed any further."""

    def __post_init__(self) -> None:
        if self.images < 2 or self.steps < 0 or self.learning_rate <= 0 or not 0 < self.enough <= 1:
            raise ConfigError("images must be 2 or more, steps 0 or more, learning_rate above 0, enough in (0, 1]")


def imagined(model: WhiteModel, image_shape: ImageShape, config: ImaginedConfig, seed: int) -> ImageSet:
    """Unlabelled images for a model of images (C, H, W), in random order, as a function of the arguments only.

    An image that does not reach `enough` within `steps` is kept as it is. Raises ModelError, NotFinite.
    """
    shapes = (stream(seed, "imagined", number) for number in range(config.images))
    pixels = torch.from_numpy(np.stack([random_image(rng, image_shape, config.start) for rng in shapes]))
    pixels = pixels.to(model.device)
    with torch.no_grad():
        n_classes = model.log_probabilities(pixels[:1]).shape[1]
    order = stream(seed, "imagined", "order").permutation(config.images)
    wanted = torch.from_numpy(np.arange(config.images) % n_classes)[order].to(model.device)
    for part in torch.split(torch.arange(config.images, device=model.device), 64):
        pixels[part] = _descended(model, pixels[part], wanted[part], config)
    return ImageSet.unlabelled(pixels, NAME)


def _descended(model: WhiteModel, pixels: torch.Tensor, wanted: torch.Tensor, config: ImaginedConfig) -> torch.Tensor:
    """The images after Adam on the cross-entropy against `wanted`; each stops where its class is sure enough."""
    images = pixels.clone().requires_grad_()
    adam = torch.optim.Adam([images], lr=config.learning_rate)
    kept = pixels.clone()
    for _ in range(config.steps):
        log_scores = model.log_probabilities(images).gather(1, wanted[:, None])[:, 0]
        unsure = log_scores.detach().exp() < config.enough
        if not bool(unsure.any()):
            break
        adam.zero_grad()
        (-log_scores).sum().backward()  # type: ignore[no-untyped-call]
        adam.step()
        with torch.no_grad():
            images.clamp_(0.0, 1.0)
            images[~unsure] = kept[~unsure]
            kept = images.detach().clone()
    return kept
