"""What a trigger of any family does, as small pictures: the image before and after, the difference, and its arrows.

No family is named here. A trigger that is a mask and a pattern is shown as these; every other one by what it does to an
image, and one that moves the image's content also by arrows.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from simkit.transforms.contract import ImageShape, Transform
from simkit.triggers import FloatArray
from studies.render.pictures import Pixels, difference, mask_of, on_grey, photo

_SIDE = 192
"""Minimum length of a panel's longer side, in pixels."""

_ARROWS = 8
"""Arrows along the longer side of an image."""

_ARROW_COLOUR = (213, 94, 0)
"""Vermilion, from the palette of Okabe and Ito, which colour-blind readers can distinguish."""

_LEFT_TO_RIGHT = ("mask", "on grey", "before", "after", "arrows", "difference")
"""The order of the views in a file of their own, where they stand in one row."""


@dataclass(frozen=True, eq=False)
class View:
    """One picture of a trigger: uint8 (h, w, 3). caption: in short. words: what it shows, after `the trigger`.

    times: the magnification of a difference or of arrows, 1 for the other views.
    """

    name: str
    words: str
    pixels: Pixels
    times: float = 1.0

    @property
    def caption(self) -> str:
        """The name, with the magnification where there is one."""
        return self.name if self.times == 1.0 else f"{self.name}, x{self.times:.1f}"


def views(trigger: Transform, image: FloatArray | None = None) -> tuple[View, ...]:
    """The pictures of a trigger, the most telling first.

    image: float32 (C, H, W) in [0, 1] to show it on; None for a test card, and for a patch alone. A patch: `on grey`,
    `mask`, and `after` on an image. Any other trigger: `arrows` where it moves the image's content, `difference`,
    `after`, and `before` on a test card.
    """
    patch = trigger.as_patch
    if patch is not None:
        mask = View("mask", "as its mask, white where it covers the image", mask_of(patch))
        alone = View("on grey", "on grey", on_grey(patch)), mask
        return alone if image is None else (*alone, _after(trigger, image))
    before = card(trigger.image_shape) if image is None else image
    moving = () if trigger.arrows is None else (_arrows(trigger.arrows, before),)
    plain = () if image is not None else (View("before", "not yet on the image", photo(before)),)
    return *moving, _difference(trigger, before), _after(trigger, before), *plain


def card(image_shape: ImageShape) -> FloatArray:
    """A grey test card, float32 (C, H, W): squares of two greys, so that a shift shows as well as a colour does."""
    channels, height, width = image_shape
    side = max(2, max(height, width) // 8)
    odd = (np.arange(height)[:, None] // side + np.arange(width) // side) % 2
    squares: FloatArray = np.broadcast_to(0.35 + 0.3 * odd, (channels, height, width)).astype(np.float32)
    return squares


def on_image(trigger: Transform, image: FloatArray) -> FloatArray:
    """The image (C, H, W) with the trigger."""
    after: FloatArray = trigger.on(image[None])[0]
    return after


def picture(trigger: Transform) -> bytes:
    """A PNG of the views of a trigger beside each other, on a test card where it is no patch."""
    by_name = {view.name: view for view in views(trigger)}
    panels = [_panel(by_name[name].pixels) for name in _LEFT_TO_RIGHT if name in by_name]
    gap = np.full((panels[0].shape[0], 8, 3), 255, np.uint8)
    row = [part for panel in panels for part in (gap, panel)][1:]
    stream = io.BytesIO()
    Image.fromarray(np.concatenate(row, axis=1)).save(stream, format="PNG")
    return stream.getvalue()


def _after(trigger: Transform, image: FloatArray) -> View:
    return View("after", "on an image", photo(on_image(trigger, image)))


def _difference(trigger: Transform, image: FloatArray) -> View:
    added, times = difference(image, on_image(trigger, image))
    return View("difference", "as what it adds to the image, magnified, on grey", photo(added), times)


def _arrows(moved: NDArray[np.float64], image: FloatArray) -> View:
    """Arrows from where the content of the image is to where it goes, on the faded image."""
    pixels, times = _panel(photo(0.5 + 0.5 * image)), _enlarged(max(image.shape[1:]))
    step = max(1, max(image.shape[1:]) // _ARROWS)
    rows, columns = (np.arange(step // 2, side, step) for side in image.shape[1:])
    at = moved[np.ix_(rows, columns)]
    longest = max(float(np.hypot(at[..., 0], at[..., 1]).max()), 1e-9)
    scale = 0.9 * step / longest
    drawing = Image.fromarray(pixels)
    pen = ImageDraw.Draw(drawing)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            start = np.array([column + 0.5, row + 0.5]) * times
            _arrow(pen, start, at[i, j] * scale * times)
    return View("arrows", "as arrows from where the image's content is to where it goes", np.asarray(drawing), scale)


def _arrow(pen: ImageDraw.ImageDraw, start: NDArray[np.float64], along: NDArray[np.float64]) -> None:
    end, length = start + along, float(np.hypot(*along))
    if length < 2.0:
        pen.ellipse([*(start - 1), *(start + 1)], fill=_ARROW_COLOUR)
        return
    pen.line([*start, *end], fill=_ARROW_COLOUR, width=2)
    back, across = along / length * 5.0, np.array([-along[1], along[0]]) / length * 3.0
    pen.polygon([tuple(end + back * 0.4), tuple(end - back + across), tuple(end - back - across)], fill=_ARROW_COLOUR)


def _enlarged(side: int) -> int:
    return max(1, -(-_SIDE // side))


def _panel(pixels: Pixels) -> Pixels:
    """The picture with every pixel enlarged to a square, unless it is large already."""
    times = _enlarged(max(pixels.shape[:2]))
    return pixels.repeat(times, axis=0).repeat(times, axis=1)
