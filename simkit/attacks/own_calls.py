"""Calls of attacks: where those of the user's own are held to the protocol. Whatever makes a victim calls them here.

Victims of a zoo share their images, and a victim is a function of its spec and index only. So an attack must leave the
images that it is given as they are, and what it returns must fit the network and the truth in the manifest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from oracles.errors import one_line
from simkit.attacks.attack import Answering, Attack, Lesson, Teachable
from simkit.attacks.own import TARGET, is_own, own_kind, what_lacks
from simkit.data.images import ImageSet
from simkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    import torch


def poisoned(attack: Attack, images: ImageSet, seed: int) -> ImageSet:
    """See `Attack.poison`. Raises DataError as that does; ConfigError if an attack of the user's own changes `images`,
    returns what does not fit them, or raises anything else.
    """
    if not is_own(attack):
        return attack.poison(images, seed)
    where = _named(attack, "poison", images)
    with _unchanged(where, images), _told(where, images):
        made = attack.poison(images, seed)
    return _fitting(made, images, where)


def triggered(attack: Attack, images: ImageSet) -> ImageSet:
    """See `Attack.triggered`. Raises as `poisoned`, and also if an attack of the user's own that has a target class
    labels an image otherwise."""
    if not is_own(attack):
        return attack.triggered(images)
    where = _named(attack, "triggered", images)
    with _unchanged(where, images), _told(where, images):
        made = attack.triggered(images)
    made, target = _fitting(made, images, where), getattr(attack, TARGET, None)
    if target is not None and len(wrong := made.labels[made.labels != target]):
        raise ConfigError(
            f"{where} labels {len(wrong)} of {len(made)} images with other classes than the target class {target}, the "
            f"first with {wrong[0]}; give each image the class that it should become"
        )
    return made


def lesson_of(attack: Teachable, images: ImageSet, seed: int, device: str) -> Lesson:
    """See `Teachable.lesson`. Raises as `poisoned`, and the lesson itself does so too."""
    if not is_own(attack):
        return attack.lesson(images, seed, device)
    where = _named(attack, "lesson", images)
    with _unchanged(where, images), _told(where, images):
        lesson = attack.lesson(images, seed, device)
    return _OwnLesson(attack, lesson, images)


class _OwnLesson:
    """A lesson of an attack of the user's own. Satisfies `Lesson`.

    The images are hashed at its beginning and its end, not at every step, which would take longer than the step.
    """

    def __init__(self, attack: Any, lesson: Lesson, images: ImageSet) -> None:
        self._attack, self._lesson, self._images, self._before = attack, lesson, images, images.sha256()

    def loss(self, answer: Answering, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        import torch  # slow to import; manifests are read without it

        where = self._of("loss")
        with _told(where):
            loss: Any = self._lesson.loss(answer, images, labels)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.requires_grad:
            kind = f"a tensor {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise ConfigError(f"{where} returned {kind}; it must return one number with a gradient, as a tensor")
        return loss

    def step(self) -> None:
        with _told(self._of("step")):
            self._lesson.step()

    def learned(self) -> Attack:
        where = self._of("learned")
        with _told(where):
            learned = self._lesson.learned()
        _check_same(self._before, self._images, _named(self._attack, "lesson", self._images))
        if is_own(learned) and (lacks := what_lacks(type(learned))):
            raise ConfigError(f"{where} returned {type(learned).__name__}, which is no attack: it has no {lacks}")
        return learned

    def _of(self, method: str) -> str:
        return f"attack {own_kind(type(self._attack))}: {method} of its lesson"


def _named(attack: Any, method: str, images: ImageSet) -> str:
    return f"attack {own_kind(type(attack))}: {method} of {images.name}"


@contextmanager
def _told(where: str, images: ImageSet | None = None) -> Iterator[None]:
    """Errors of the user's code in one line that names it. images: what it was given, which `where` names already."""
    try:
        yield
    except DataError as error:
        said = str(error)
        raise DataError(f"{where}: {said if images is None else said.removeprefix(f'{images.name}: ')}") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except (Exception, SystemExit) as error:  # the class is the user's code and may raise anything
        raise ConfigError(f"{where} raised {one_line(error)}") from error


@contextmanager
def _unchanged(where: str, images: ImageSet) -> Iterator[None]:
    """Raise ConfigError if the images change meanwhile.

    By a hash: torch's version counters do not see what is written through NumPy, and a copy for each call may take
    hundreds of MB.
    """
    before = images.sha256()
    yield
    _check_same(before, images, where)


def _check_same(before: str, images: ImageSet, where: str) -> None:
    if images.sha256() != before:
        raise ConfigError(
            f"{where} changed the images that it was given, which other victims are trained and judged on too; change "
            "a copy, such as images.pixels.clone() and images.labels.copy(), and return that"
        )


def _fitting(made: Any, images: ImageSet, where: str) -> ImageSet:
    """What a method returned. Raises ConfigError or DataError unless it may stand in the place of `images`."""
    if not isinstance(made, ImageSet):
        raise ConfigError(f"{where} returned {type(made).__name__}; it must return an ImageSet")
    # The checks of a set are made once, when it is created, and its arrays may have been changed since.
    ImageSet(made.array, made.labels, made.classes, f"{where} returned images that do not count")
    if made.image_shape != images.image_shape:
        raise ConfigError(f"{where} returned images {made.image_shape}; the data are {images.image_shape}")
    if made.n_classes != images.n_classes:
        raise ConfigError(f"{where} returned images of {made.n_classes} classes; the data have {images.n_classes}")
    if unknown := int(np.count_nonzero(made.labels < 0)):
        raise ConfigError(f"{where} returned {unknown} images of {len(made)} without a label; every image needs one")
    return made
