"""Image files to pixels: sizes, formats, orientation, and what is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from simkit.data import load
from simkit.data.decode import open_image
from simkit.data.load import open_source
from simkit.errors import DataError
from tests.simkit.data.pictures import picture, save, save_classes


def _loose(folder: Path, count: int = 3) -> Path:
    for number in range(count):
        save(folder / f"{number}.png", picture(number))
    return folder


def _nchw(*numbers: int) -> torch.Tensor:
    return torch.from_numpy(np.stack([picture(n) for n in numbers]).transpose(0, 3, 1, 2)).float() / 255.0


def test_pixels_labels_and_names_are_those_of_the_files(tmp_path: Path) -> None:
    save_classes(tmp_path / "pets" / "test", {"cat": 2, "ant": 1})
    images = load(tmp_path / "pets", "test")
    assert torch.equal(images.pixels, _nchw(2, 0, 1))
    assert (images.labels.tolist(), images.classes, images.name) == ([0, 1, 1], ("ant", "cat"), "pets/test")


def test_loose_images_are_unlabelled(tmp_path: Path) -> None:
    images = load(_loose(tmp_path), "test")
    assert torch.equal(images.pixels, _nchw(0, 1, 2))
    assert (images.labelled, images.classes) == (False, ())
    with pytest.raises(DataError, match="training needs labels"):
        load(tmp_path, "train")


def test_only_what_is_drawn_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _loose(tmp_path, 9)
    opened: list[Path] = []

    def spy(file: Path, where: str) -> Image.Image:
        opened.append(file)
        return open_image(file, where)

    monkeypatch.setattr("simkit.data.folder.open_image", spy)
    few = load(tmp_path, "test", limit=2, seed=3)
    drawn = list(dict.fromkeys(opened))
    assert torch.equal(few.pixels, _nchw(*(int(file.stem) for file in drawn)))
    assert len(drawn) == 2
    assert open_source(tmp_path).size("test") == 9


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "webp"])
def test_lossless_formats_give_the_same_pixels(tmp_path: Path, suffix: str) -> None:
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    save(tmp_path / f"1.{suffix}", picture(1), **options)
    assert torch.equal(load(tmp_path, "test").pixels, _nchw(1))


def test_jpeg_is_near_enough(tmp_path: Path) -> None:
    grey = np.full((8, 8, 3), 90, np.uint8)
    save(tmp_path / "1.jpeg", grey)
    assert (load(tmp_path, "test").pixels - 90 / 255).abs().max() < 0.01


def test_grey_alone_is_one_channel_and_beside_colour_three(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture(1), "L")
    assert load(tmp_path, "test").image_shape == (1, 4, 5)
    save(tmp_path / "b.png", picture(2))
    both = load(tmp_path, "test").pixels
    assert both.shape == (2, 3, 4, 5)
    assert torch.equal(both[0, 0], both[0, 2])


def test_transparency_is_dropped_and_palettes_are_looked_up(tmp_path: Path) -> None:
    opaque = picture(1)
    clear = np.concatenate([opaque, np.zeros((4, 5, 1), np.uint8)], axis=2)
    Image.fromarray(clear, "RGBA").save(tmp_path / "1.png")
    palette = Image.fromarray(np.zeros((4, 5), np.uint8), "P")
    palette.putpalette([200, 100, 50])
    palette.save(tmp_path / "2.png")
    images = load(tmp_path, "test").pixels
    assert torch.equal(images[:1], _nchw(1))
    assert torch.equal((images[1, :, 0, 0] * 255).round(), torch.tensor([200.0, 100.0, 50.0]))


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it a quarter clockwise
    save(tmp_path / "1.png", picture(1, 4, 5), exif=exif)
    image = load(tmp_path, "test").pixels[0]
    assert torch.equal(image, torch.rot90(_nchw(1)[0], -1, (1, 2)))


def test_sizes_must_agree_or_be_given(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture(1, 4, 6))
    save(tmp_path / "b.png", picture(2, 8, 12))
    with pytest.raises(DataError, match=r"(a|b)\.png: is .*image_size="):
        load(tmp_path, "test")
    images = load(tmp_path, "test", image_size=(4, 6))
    assert images.image_shape == (3, 4, 6)
    assert torch.equal(images.pixels[0], torch.from_numpy(picture(1, 4, 6)).permute(2, 0, 1) / 255.0)


def test_the_filter_is_bilinear_and_sees_every_pixel(tmp_path: Path) -> None:
    halves = np.zeros((4, 4, 3), np.uint8)
    halves[:, 2:] = 240
    save(tmp_path / "1.png", halves)
    row = (load(tmp_path, "test", image_size=(1, 2)).pixels[0, 0, 0] * 255).round().tolist()
    # weights 3:3:1 of the columns within two pixels of each centre
    assert row == [round(240 / 7), round(240 * 6 / 7)]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"no image at all", "is not an image"),
        (b"", "is not an image"),
        (b"cut", "(cannot be decoded|is not an image)"),
        (b"deep", "has the pixel format I;16"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, data: bytes, complaint: str) -> None:
    bad = save(_loose(tmp_path) / "bad.png", picture(7, 40, 50))
    if data == b"cut":
        for number in range(3):
            save(tmp_path / f"{number}.png", picture(number, 40, 50))
        bad.write_bytes(bad.read_bytes()[:-300])
    elif data == b"deep":
        Image.fromarray(np.zeros((4, 5), np.uint16)).save(bad)
    else:
        bad.write_bytes(data)
    with pytest.raises(DataError, match=rf"bad\.png: {complaint}") as caught:
        load(tmp_path, "test")
    assert "\n" not in str(caught.value)


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    (_loose(tmp_path) / "gone.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"gone\.png: cannot be read: No such file"):
        load(tmp_path, "test")


@pytest.mark.parametrize("name", ["1.png", "0.png", "2.jpg"])
def test_a_pointer_among_the_images_is_named(name: str, tmp_path: Path) -> None:
    (_loose(tmp_path) / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(DataError, match=rf"{name}: is a Git LFS pointer, not the file itself; fetch it with"):
        load(tmp_path, "test")
