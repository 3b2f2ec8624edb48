"""The victims' architectures, from images in [0, 1] to logits.

Convolution, batch norm and activation are neighbours in plain `nn.Sequential`s, so that batch norms can be folded by
structure. All networks accept an empty batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import nn

from oracles.errors import likely
from simkit.data.images import ImageShape
from simkit.errors import ConfigError
from simkit.zoo.architectures import ARCHITECTURES
from simkit.zoo.layers import (
    Attention,
    Normalise,
    Residual,
    Scaled,
    Skip,
    TokenDense,
    TokenMean,
    Tokens,
    conv_bn_relu,
)

Builder: TypeAlias = Callable[[ImageShape, int], nn.Module]


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


def resnet9(image_shape: ImageShape, n_classes: int, width: int = 16) -> nn.Module:
    """A narrow residual network with early pooling and a global max pool, the most accurate here for its training time.

    The layout follows, from memory, the nine-layer networks of the DAWNBench speed contests, at a quarter of their
    width. Images of 4x4 pixels or more.
    """
    _check(image_shape, n_classes, smallest=4)
    return nn.Sequential(
        Normalise(),
        *conv_bn_relu(image_shape[0], width, _first_stride(image_shape)),
        *conv_bn_relu(width, 2 * width),
        nn.MaxPool2d(2, ceil_mode=True),
        Skip(2 * width),
        *conv_bn_relu(2 * width, 4 * width),
        nn.MaxPool2d(2, ceil_mode=True),
        *conv_bn_relu(4 * width, 8 * width),
        nn.MaxPool2d(2, ceil_mode=True),
        Skip(8 * width),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(8 * width, n_classes, bias=False),
        Scaled(0.125),
    )


def resnet9_wide(image_shape: ImageShape, n_classes: int) -> nn.Module:
    """`resnet9` at twice its width, with some four times the operations."""
    return resnet9(image_shape, n_classes, width=32)


def attention(image_shape: ImageShape, n_classes: int) -> nn.Module:
    """Convolutions, then two blocks of attention between all places, which are 4x4 pixels of a small image.

    Convolutions before attention train on few images, as in CoAtNet (Dai et al., 2021), whose idea this follows and not
    its layout. Images of 4x4 pixels or more.
    """
    _check(image_shape, n_classes, smallest=4)
    stride, channels = _first_stride(image_shape), 128
    height, width = (-(-side // (4 * stride)) for side in image_shape[1:])
    return nn.Sequential(
        Normalise(),
        *conv_bn_relu(image_shape[0], 16, stride),
        *conv_bn_relu(16, 32),
        nn.MaxPool2d(2, ceil_mode=True),
        Skip(32),
        *conv_bn_relu(32, 64),
        nn.MaxPool2d(2, ceil_mode=True),
        *conv_bn_relu(64, channels),
        Tokens(height * width, channels),
        *(block for _ in range(2) for block in (Attention(channels, heads=4), TokenDense(channels))),
        nn.LayerNorm(channels),
        TokenMean(),
        nn.Linear(channels, n_classes),
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
    dict(zip(ARCHITECTURES, (conv4, flat, resnet8, resnet9, resnet18, resnet9_wide, attention), strict=True))
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
