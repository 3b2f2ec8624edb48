"""What the victims' networks are built of: blocks from images or tokens to the same.

Convolution, batch norm and activation are neighbours in plain `nn.Sequential`s, so that batch norms can be folded by
structure. A block may be shared by threads.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn


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
        self.shortcut = nn.Identity() if same else nn.Sequential(*projection(channels_in, channels_out, stride))

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


class Tokens(nn.Module):
    """Feature maps (N, C, H, W) as a row of tokens (N, H * W, C), to each of which a learned vector tells its place."""

    thread_safe: ClassVar[bool] = True

    def __init__(self, places: int, channels: int) -> None:
        super().__init__()
        self.places = nn.Parameter(0.02 * torch.randn(places, channels))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.flatten(2).transpose(1, 2) + self.places


class Attention(nn.Module):
    """tokens + attention(norm(tokens)), all tokens to all, in several heads (Vaswani et al., 2017).

    The last layer starts at zero, so that the untrained block changes nothing and large learning rates are stable.
    """

    thread_safe: ClassVar[bool] = True

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.enter, self.leave = nn.Linear(channels, 3 * channels), _zeroed(nn.Linear(channels, channels))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        count, places, channels = tokens.shape
        entered = self.enter(self.norm(tokens)).reshape(count, places, 3, self.heads, channels // self.heads)
        query, key, value = entered.permute(2, 0, 3, 1, 4).unbind()
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        out: torch.Tensor = tokens + self.leave(mixed.transpose(1, 2).reshape(count, places, channels))
        return out


class TokenDense(nn.Module):
    """tokens + dense(norm(tokens)): two dense layers for each token alone. The last one starts at zero."""

    thread_safe: ClassVar[bool] = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        last = _zeroed(nn.Linear(wide, channels))
        self.body = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, wide), nn.GELU(), last)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = tokens + self.body(tokens)
        return out


class TokenMean(nn.Module):
    """The mean of all tokens: (N, T, C) to (N, C)."""

    thread_safe: ClassVar[bool] = True

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.mean(dim=1)


def _zeroed(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def conv_bn_relu(channels_in: int, channels_out: int, stride: int = 1) -> tuple[nn.Module, ...]:
    """A 3x3 convolution without bias, its batch norm, and a ReLU."""
    conv = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
    return conv, nn.BatchNorm2d(channels_out), nn.ReLU()


def projection(channels_in: int, channels_out: int, stride: int) -> tuple[nn.Module, ...]:
    """A 1x1 convolution without bias, and its batch norm."""
    return nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False), nn.BatchNorm2d(channels_out)
