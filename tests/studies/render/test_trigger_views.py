"""Every family in pictures: decoded again, each view shows what the trigger does."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from simkit.seeding import stream
from simkit.transforms.blend import BlendFamily
from simkit.transforms.breeding import Family
from simkit.transforms.contract import Transform
from simkit.transforms.patch import PatchFamily
from simkit.transforms.picture import PictureFamily
from simkit.transforms.warp import Warp, WarpFamily
from simkit.transforms.wave import Wave, WaveFamily, Waves
from studies.render.trigger_views import card, on_image, picture, views

FAMILIES: tuple[Family, ...] = (PatchFamily(), WaveFamily(), BlendFamily(), WarpFamily(), PictureFamily())
NAMES = {
    "patch": (["on grey", "mask"], ["on grey", "mask", "after"]),
    "wave": (["difference", "after", "before"], ["difference", "after"]),
    "blend": (["difference", "after", "before"], ["difference", "after"]),
    "picture": (["difference", "after", "before"], ["difference", "after"]),
    "warp": (["arrows", "difference", "after", "before"], ["arrows", "difference", "after"]),
}


def drawn(family: Family, shape: tuple[int, int, int]) -> Transform:
    breeder = family.breeder(shape)
    return breeder.transform(breeder.fresh(stream(3, family.name)))


@pytest.mark.parametrize("shape", [(3, 16, 12), (1, 9, 20), (4, 6, 6)])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_has_its_views(family: Family, shape: tuple[int, int, int]) -> None:
    trigger, image = drawn(family, shape), np.random.default_rng(0).random(shape, dtype=np.float32)
    alone, on_it = NAMES[family.name]
    assert [view.name for view in views(trigger)] == alone
    assert [view.name for view in views(trigger, image)] == on_it
    for view in (*views(trigger), *views(trigger, image)):
        assert view.pixels.dtype == np.uint8
        assert view.pixels.shape[2] == 3
        assert view.words
    with Image.open(io.BytesIO(picture(trigger))) as png:
        width = (png.width - 8 * (len(alone) - 1)) / len(alone)
        assert width / png.height == pytest.approx(shape[2] / shape[1])


def test_the_difference_of_a_wave_is_the_wave_magnified() -> None:
    wave = Waves((3, 4, 8), (Wave((1.0, 0.0), 0.0, (0.1, 0.1, 0.1)),))
    difference, after, before = views(wave)
    assert difference.times == pytest.approx(5.0)
    assert difference.caption == "difference, x5.0"
    expected = np.rint((0.5 + 0.5 * np.sin(2 * np.pi * np.arange(8) / 8)) * 255)
    assert np.abs(difference.pixels[0, :, 0] - expected).max() <= 1
    assert np.array_equal(before.pixels[..., 0], np.rint(card((3, 4, 8))[0] * 255))
    assert np.array_equal(after.pixels[..., 0], np.rint(on_image(wave, card((3, 4, 8)))[0] * 255))


def test_arrows_point_to_where_the_content_goes() -> None:
    shifts = np.zeros((2, 2, 2))
    shifts[..., 0] = 2.0  # every pixel is taken from two further right, so that what is seen moves left
    warp = Warp((1, 8, 8), shifts)
    assert warp.arrows is not None
    assert np.allclose(warp.arrows, [-2.0, 0.0])
    image = np.zeros((1, 8, 8), np.float32)
    image[0, 4, 5] = 1.0
    assert on_image(warp, image)[0, 4, 3] == pytest.approx(1.0)


def test_the_card_is_grey_and_has_edges() -> None:
    squares = card((3, 32, 32))
    assert 0.3 < squares.min() < squares.max() < 0.7
    assert squares.mean() == pytest.approx(0.5)
    assert np.abs(np.diff(squares, axis=2)).max() > 0.2
