"""A trial of an attack of the user's own on a few images, before minutes are spent on training a victim with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simkit.attacks.attack import Attack, Teachable
from simkit.attacks.own import is_own, own_kind
from simkit.attacks.own_calls import poisoned, triggered
from simkit.attacks.several import parts_of
from simkit.data.images import ImageSet
from simkit.errors import ConfigError, DataError

_FEW = 256
"""Images of a trial, as many of each class; but two of each class or more."""


def try_out(attack: Attack, images: ImageSet, held_out: ImageSet, seed: int) -> None:
    """Raise ConfigError or DataError if an attack of the user's own breaks the protocol of attacks.

    images: training images. held_out: those on which it will be judged; both are left as they are. Checked is what
    `own_calls` checks, and that a second call returns the same. Does nothing for simkit's own attacks, and for those
    that learn their trigger with the victim and have none before.
    """
    for part in parts_of(attack):
        if not is_own(part) or isinstance(part, Teachable):
            continue
        try:
            _tried(part, _few(images), _few(held_out), seed)
        except (ConfigError, DataError):  # a few images may be too few for it; what it does with all of them counts
            _tried(part, _copy(images), _copy(held_out), seed)


def _tried(attack: Attack, images: ImageSet, held_out: ImageSet, seed: int) -> None:
    _check_repeats(attack, "poison", lambda: poisoned(attack, images, seed), "the same images and seed")
    _check_repeats(attack, "triggered", lambda: triggered(attack, held_out), "the same images")


def _check_repeats(attack: Attack, method: str, call: Callable[[], ImageSet], given: str) -> None:
    if call().sha256() != call().sha256():
        raise ConfigError(
            f"attack {own_kind(type(attack))}: {method} returned something else when it was called again with {given}; "
            "it must be a function of its arguments only, so draw from simkit.seeding.stream(seed, ...)"
        )


def _few(images: ImageSet) -> ImageSet:
    """The first images of each class, in their order, copied."""
    classes = np.unique(images.labels)
    each = max(2, _FEW // len(classes))
    return images.take(np.sort(np.concatenate([np.flatnonzero(images.labels == c)[:each] for c in classes])))


def _copy(images: ImageSet) -> ImageSet:
    return images.take(range(len(images)))
