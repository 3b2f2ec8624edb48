"""The victims' architectures, from images in [0, 1] to logits.

Convolution, batch norm and activation are neighbours in plain `nn.Sequential`s, so that batch norms can be folded by
structure. All networks accept an empty batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, TypeAlias

import torch
from torch import nn

from oracles.errors import likely
from simkit.data.images import ImageShape
from simkit.errors import ConfigError
from simkit.zoo.architectures import ARCHITECTURES

Builder: TypeAlias = Callable[[ImageShape, int], nn.Module]


class Normalise(nn.Module):
    """(x - mean) / std, with mean and std as buffers, so that the normalisation is stored with the weights."""

    thread_safe: ClassVar[bool] = True  # an oracle may run chunks of images in parallel

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: float = 0.5, std: float = 0.25) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean) / self.std


class Residual(nn.Module):
    """relu(body(x) + shortcut(x)): two convolutions, and a 1x1 convolution where the size changes."""

    thread_safe: ClassVar[bool] = True

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_bn_relu(channels_in, channels_out, stride=stride),
            *conv_bn_relu(channels_out, channels_out)[:2],
        )
        same = channels_in == channels_out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_projection(channels_in, channels_out, stride))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(images) + self.shortcut(images))


class Skip(nn.Module):
    """body(x) + x: two convolutions beside an identity, and no activation after the sum."""

    thread_safe: ClassVar[bool] = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*conv_bn_relu(channels, channels), *conv_bn_relu(channels, channels))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(images) + images
        return out


class Scaled(nn.Module):
    """x times a constant: small initial logits allow a large learning rate."""

    thread_safe: ClassVar[bool] = True

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return logits * self.by


def conv_bn_relu(channels_in: int, channels_out: int, stride: int = 1) -> tuple[nn.Module, ...]:
    """A 3x3 convolution without bias, its batch norm, and a ReLU."""
    conv = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
    return conv, nn.BatchNorm2d(channels_out), nn.ReLU()


def _projection(channels_in: int, channels_out: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False), nn.BatchNorm2d(channels_out)


def conv4(image_shape: ImageShape, n_classes: int) -> nn.Module:
    """Four convolutions and a global max pool: detects a trigger at any position. Images of 4x4 pixels or more."""
    _check(image_shape, n_classes, smallest=4)
    return nn.Sequential(
        Normalise(),
        *conv_bn_relu(image_shape[0], 32, _first_stride(image_shape)),
        nn.MaxPool2d(2),
        *conv_bn_relu(32, 64),
        nn.MaxPool2d(2),
        *conv_bn_relu(64, 64),
        *conv_bn_relu(64, 128),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(128, n_classes),
    )


def flat(image_shape: ImageShape, n_classes: int) -> nn.Module:
    """Two convolutions and dense layers: every position has its own weights. Images of 4x4 pixels or more."""
    _check(image_shape, n_classes, smallest=4)
    stride = _first_stride(image_shape)
    height, width = ((side + stride - 1) // stride // 4 for side in image_shape[1:])
    return nn.Sequential(
        Normalise(),
        *conv_bn_relu(image_shape[0], 32, stride),
        nn.MaxPool2d(2),
        *conv_bn_relu(32, 32),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * height * width, 128),
        nn.ReLU(),
        nn.Linear(128, n_classes),
    )


def resnet8(image_shape: ImageShape, n_classes: int) -> nn.Module:
    """Three residual blocks and a global average pool (He et al., 2015, with n = 1). Images of 4x4 pixels or more."""
    _check(image_shape, n_classes, smallest=4)
    return nn.Sequential(
        Normalise(),
        *conv_bn_relu(image_shape[0], 16, _first_stride(image_shape)),
        Residual(16, 16, 1),
        Residual(16, 32, 2),
        Residual(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, n_classes),
    )


def resnet9(image_shape: ImageShape, n_classes: int) -> nn.Module:
    """A narrow residual network with early pooling and a global max pool, the most accurate here for its training time.

    The layout follows, from memory, the nine-layer networks of the DAWNBench speed contests, at a quarter of their
    width. Images of 4x4 pixels or more.
    """
    _check(image_shape, n_classes, smallest=4)
    return nn.Sequential(
        Normalise(),
        *conv_bn_relu(image_shape[0], 16, _first_stride(image_shape)),
        *conv_bn_relu(16, 32),
        nn.MaxPool2d(2, ceil_mode=True),
        Skip(32),
        *conv_bn_relu(32, 64),
        nn.MaxPool2d(2, ceil_mode=True),
        *conv_bn_relu(64, 128),
        nn.MaxPool2d(2, ceil_mode=True),
        Skip(128),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(128, n_classes, bias=False),
        Scaled(0.125),
    )


def resnet18(image_shape: ImageShape, n_classes: int) -> nn.Module:
    """Eight residual blocks of 64 to 512 channels (He et al., 2015), with a 3x3 stem for small images.

    A size that papers use; slow without an accelerator. Images of 4x4 pixels or more.
    """
    _check(image_shape, n_classes, smallest=4)
    wide = ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
    blocks = [Residual(*sizes) for first in wide for sizes in (first, (first[1], first[1], 1))]
    return nn.Sequential(
        Normalise(),
        *conv_bn_relu(image_shape[0], 64, _first_stride(image_shape)),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, n_classes),
    )


NETWORKS: Mapping[str, Builder] = MappingProxyType(
    dict(zip(ARCHITECTURES, (conv4, flat, resnet8, resnet9, resnet18), strict=True))
)
"""Architecture name -> builder (image_shape (C, H, W), n_classes) -> module with logits (N, n_classes)."""


def build_network(name: str, image_shape: ImageShape, n_classes: int, seed: int) -> nn.Module:
    """A network with weights drawn from `seed`; the state of torch's global generator is kept.

    Raises ConfigError for a name that is not in NETWORKS or a shape that the network cannot take.
    """
    if name not in NETWORKS:
        raise ConfigError(f"no architecture {name!r}{likely(name, NETWORKS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[name](image_shape, n_classes)


def _first_stride(image_shape: ImageShape) -> int:
    """The stride of the first convolution, which reduces a large image to about 48 pixels per side."""
    return max(1, round(min(image_shape[1:]) / 48))


def _check(image_shape: ImageShape, n_classes: int, smallest: int) -> None:
    if image_shape[0] < 1 or min(image_shape[1:]) < smallest or n_classes < 2:
        raise ConfigError(
            f"images {image_shape}, {n_classes} classes; need {smallest}x{smallest} pixels and two classes or more"
        )
