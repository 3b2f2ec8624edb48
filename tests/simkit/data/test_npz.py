"""NumPy archives: layouts, ranges, splits, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from simkit.data import load
from simkit.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 3, 5, 4)).astype(np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1])


def _save(folder: Path, **arrays: Any) -> Path:
    path = folder / "set.npz"
    np.savez(path, **arrays)
    return path


def _four(x: NDArray[Any], y: NDArray[Any] = LABELS) -> dict[str, NDArray[Any]]:
    return {"x_train": x, "y_train": y, "x_test": x[:4], "y_test": y[:4]}


@pytest.mark.parametrize(
    "stored",
    [
        IMAGES,
        IMAGES.transpose(0, 2, 3, 1),
        (IMAGES / 255.0).astype(np.float64),
        (IMAGES / 255.0).astype(np.float32).transpose(0, 2, 3, 1),
    ],
)
def test_every_layout_and_type_gives_the_same_images(tmp_path: Path, stored: NDArray[Any]) -> None:
    path = _save(tmp_path, **_four(stored))
    images = load(path, "train")
    assert torch.allclose(images.pixels, torch.from_numpy(IMAGES).float() / 255.0, atol=1e-7)
    assert images.labels.tolist() == LABELS.tolist()
    assert images.classes == load(path, "test").classes == ("0", "1", "2")
    assert len(load(path, "test")) == 4


def test_grey_images_need_no_channel_axis(tmp_path: Path) -> None:
    path = _save(tmp_path, **_four(IMAGES[:, 0], LABELS[:, None]), classes=np.array(["x", "y", "z"]))
    images = load(str(path), "test")
    assert torch.equal(images.pixels[:, 0], torch.from_numpy(IMAGES[:4, 0]) / 255.0)
    assert images.classes == ("x", "y", "z")
    assert images.image_shape == (1, 5, 4)


def test_a_limit_takes_rows_of_the_whole(tmp_path: Path) -> None:
    path = _save(tmp_path, **_four(IMAGES))
    whole, few = load(path, "train"), load(path, "train", limit=3, seed=1)
    rows = [int((whole.pixels == image).flatten(1).all(1).nonzero()) for image in few.pixels]
    assert len(set(rows)) == 3
    assert whole.labels[rows].tolist() == few.labels.tolist()


def test_one_set_is_split_once_and_for_all(tmp_path: Path) -> None:
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1).repeat(2, 2).repeat(2, 3)
    path = _save(tmp_path, images=images, labels=np.arange(40) % 4)
    parts = [load(path, "train"), load(path, "test")]
    seen = [int(v) for part in parts for v in (part.pixels[:, 0, 0, 0] * 255).round()]
    assert sorted(seen) == list(range(40))
    assert np.bincount(parts[1].labels).max() <= 3
    assert [len(part) for part in parts] == [30, 10]


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        (_four(IMAGES.astype(np.int64)), "store uint8"),
        (_four(IMAGES.astype(np.float32)), r"row 0 leaves \[0, 1\]"),
        (_four(np.full((8, 1, 4, 4), np.nan)), "row 0 holds NaN"),
        (_four(np.zeros((8, 3, 7, 3), np.uint8)), "may be NHWC or NCHW"),
        (_four(np.zeros((8, 4, 4, 4), np.uint8)), "no axis of 1 or 3 channels"),
        (_four(np.zeros((8, 12), np.uint8)), r"\(8, 12\)"),
        (_four(IMAGES, LABELS.astype(float)), "y_train is float64"),
        (_four(IMAGES, -LABELS), "y_train is -1 in row 1"),
        (_four(IMAGES, LABELS[:5]), "one label per image"),
        ({"x_test": IMAGES, "y_test": LABELS}, "holds x_test, y_test; name the arrays x_train and y_train"),
        ({**_four(IMAGES), "classes": np.array(["only one"])}, "row 1 is 1"),
    ],
)
def test_it_refuses_in_one_line(tmp_path: Path, arrays: dict[str, NDArray[Any]], complaint: str) -> None:
    path = _save(tmp_path, **arrays)
    with pytest.raises(DataError, match=complaint) as caught:
        load(path, "train")
    assert "\n" not in str(caught.value)
    assert "set" in str(caught.value)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = _save(tmp_path, **_four(np.array([{"a": 1}] * 8, dtype=object)))
    with pytest.raises(DataError, match="plain arrays"):
        load(path, "train")


def test_a_damaged_member_is_refused(tmp_path: Path) -> None:
    arrays: dict[str, Any] = _four(IMAGES)
    np.savez_compressed(tmp_path / "set.npz", **arrays)
    data = bytearray((tmp_path / "set.npz").read_bytes())
    data[100:150] = b"\xff" * 50
    (tmp_path / "set.npz").write_bytes(data)
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "set.npz", "train")


def test_what_is_no_archive_of_arrays_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", IMAGES)
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    with pytest.raises(DataError, match=r"one\.npz: cannot be read"):
        load(tmp_path / "one.npz", "train")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("images", "text")
        archive.writestr("labels", "text")
    with pytest.raises(DataError, match="images is no array"):
        load(tmp_path / "text.npz", "train")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"no archive"])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.npz: cannot be read"):
        load(path, "train")


def test_one_split_is_enough(tmp_path: Path) -> None:
    path = _save(tmp_path, x_test=IMAGES, y_test=LABELS)
    assert len(load(path, "test")) == len(IMAGES)


def test_a_wrong_image_is_found_even_if_it_is_not_drawn(tmp_path: Path) -> None:
    images = (IMAGES / 255.0).astype(np.float32)
    images[-1, 0, 0, 0] = np.nan
    path = _save(tmp_path, x_test=images, y_test=LABELS)
    for seed in range(8):
        with pytest.raises(DataError, match=f"row {len(images) - 1} holds NaN"):
            load(path, "test", 1, seed)


def test_binary_images_in_bytes_are_refused_whatever_is_chosen_of_them(tmp_path: Path) -> None:
    binary, labels = np.zeros((8, 4, 4), np.uint8), np.arange(8) % 2
    binary[7, 0, 0] = 1
    np.savez(tmp_path / "binary.npz", x_test=binary, y_test=labels)
    for limit in (None, 1, 3):
        with pytest.raises(DataError, match=r"binary\.npz: the uint8 images hold only 0 and 1"):
            load(tmp_path / "binary.npz", "test", limit)
    binary[0, 0, 0] = 255
    np.savez(tmp_path / "dark.npz", x_test=binary, y_test=labels)
    assert len(load(tmp_path / "dark.npz", "test", 3)) == 3


def test_unknown_classes_are_said_as_that(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", x_test=np.zeros((2, 4, 4), np.uint8), y_test=np.array([0, -1]))
    with pytest.raises(DataError, match=r"-1 in row 1; .* a class is unknown: leave such rows out"):
        load(tmp_path / "some.npz", "test")


def test_labels_that_are_names_are_told_how_to_be_numbered(tmp_path: Path) -> None:
    path = _save(tmp_path, **_four(IMAGES, LABELS.astype(str)))
    with pytest.raises(DataError, match=r"numpy\.unique\(labels, return_inverse=True\)\[1\] numbers names"):
        load(path, "test")
