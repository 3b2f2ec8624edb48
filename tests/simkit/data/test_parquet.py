"""Parquet folders: the layouts they come in, what is decoded, and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from simkit.data import load, parquet
from simkit.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 6, 5, 3)).astype(np.uint8)
LABELS = [0, 1, 2, 0, 1, 2, 0]
NAMES = ["ant", "bee", "cat"]


def png(pixels: NDArray[np.uint8], mode: str | None = None) -> bytes:
    """An encoded image; `mode` converts it first."""
    image, data = Image.fromarray(pixels), io.BytesIO()
    (image.convert(mode) if mode else image).save(data, "PNG")
    return data.getvalue()


def write(
    file: Path,
    cells: list[bytes | None],
    labels: list[Any],
    names: list[str] | None = None,
    columns: tuple[str, str] = ("image", "label"),
) -> None:
    """One file as Hugging Face `datasets` writes it, two rows a row group."""
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    image = pa.array([{"bytes": cell, "path": None} for cell in cells], kind)
    table = pa.table({columns[0]: image, columns[1]: pa.array(labels)})
    if names is not None:
        features = {columns[0]: {"_type": "Image"}, columns[1]: {"_type": "ClassLabel", "names": names}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, file, row_group_size=2)


def _nchw(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2) / 255.0).float()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cells: list[bytes | None] = [png(image) for image in PIXELS]
    write(tmp_path / "train-00000-of-00002.parquet", cells[:3], LABELS[:3], NAMES)
    write(tmp_path / "train-00001-of-00002.parquet", cells[3:], LABELS[3:], NAMES)
    write(tmp_path / "test.parquet", cells[:2], LABELS[:2], NAMES)
    return tmp_path


def test_shards_are_read_in_order(folder: Path) -> None:
    images = load(folder, "train")
    assert torch.allclose(images.pixels, _nchw(PIXELS))
    assert images.labels.tolist() == LABELS
    assert images.classes == tuple(NAMES)


def test_a_limit_decodes_only_the_chosen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = 0
    decode = parquet._Cell.decode

    def counted(cell: parquet._Cell, shape: tuple[int, int, int], same_size: bool) -> NDArray[np.uint8]:
        nonlocal decoded
        decoded += 1
        return decode(cell, shape, same_size)

    monkeypatch.setattr(parquet._Cell, "decode", counted)
    few = load(folder, "train", limit=3, seed=8)
    rows = [int((_nchw(PIXELS) - image).abs().flatten(1).amax(1).argmin()) for image in few.pixels]
    assert decoded == len(set(rows)) == 3
    assert torch.allclose(few.pixels, _nchw(PIXELS)[rows])
    assert few.labels.tolist() == [LABELS[row] for row in rows]


def test_the_data_subfolder_and_a_validation_split_will_do(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train-00000-of-00001.parquet", [png(PIXELS[0])], [0], NAMES)
    write(tmp_path / "data" / "validation-00000-of-00001.parquet", [png(PIXELS[1])], [1], NAMES)
    assert load(tmp_path, "train").labels.tolist() == [0]
    assert load(tmp_path, "test").labels.tolist() == [1]


def test_columns_of_other_names_are_found_by_their_type(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [png(PIXELS[0])], [2], NAMES, columns=("img", "fine_label"))
    assert load(tmp_path, "train").labels.tolist() == [2]


def test_without_names_classes_are_numbered_over_all_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [png(PIXELS[0])], [0])
    write(tmp_path / "test.parquet", [png(PIXELS[0])], [2])
    assert load(tmp_path, "train").classes == load(tmp_path, "test").classes == ("0", "1", "2")


def test_grey_among_colour_gets_three_channels_and_grey_alone_one(tmp_path: Path) -> None:
    grey = png(PIXELS[1], "L")
    write(tmp_path / "a" / "train.parquet", [png(PIXELS[0]), grey], [0, 1], NAMES)
    write(tmp_path / "b" / "train.parquet", [grey, grey], [0, 1], NAMES)
    colour, alone = load(tmp_path / "a", "train"), load(tmp_path / "b", "train")
    assert (colour.image_shape, alone.image_shape) == ((3, 6, 5), (1, 6, 5))
    assert torch.equal(colour.pixels[1], alone.pixels[1].expand(3, 6, 5))


@pytest.mark.parametrize(
    ("cell", "label", "complaint"),
    [
        (png(PIXELS[1][:5]), 0, "column 'image', row 3: is 5x5, the first image 6x5"),
        (b"no image", 0, "column 'image', row 3: is not an image"),
        (png(PIXELS[1])[:60], 0, "column 'image', row 3: (cannot be decoded|is not an image)"),
        (None, 0, "column 'image', row 3: has no bytes"),
        (png(PIXELS[1].astype(np.uint16)[:, :, 0]), 0, "row 3: has the pixel format I;16"),
        (png(PIXELS[1]), 3, "column 'label', row 3: is 3; the 3 classes"),
        (png(PIXELS[1]), -1, "column 'label', row 3: is -1"),
        (png(PIXELS[1]), None, "column 'label', row 3: is None"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, cell: bytes | None, label: int | None, complaint: str) -> None:
    good = png(PIXELS[0])
    write(tmp_path / "train.parquet", [good, good, good, cell], [0, 0, 0, label], NAMES)
    with pytest.raises(DataError, match=complaint) as caught:
        load(tmp_path, "train")
    assert "train.parquet: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_size_makes_images_of_several_sizes_agree(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [png(PIXELS[0]), png(PIXELS[1][:3])], [0, 1], NAMES)
    images = load(tmp_path, "train", image_size=(6, 5))
    assert torch.allclose(images.pixels[:1], _nchw(PIXELS[:1])), "what has the size already is left alone"
    assert load(tmp_path, "train", image_size=(2, 9)).image_shape == (3, 2, 9)


@pytest.mark.parametrize("grey", [(0,), (1,), (3,), (0, 1), (0, 1, 2), (1, 2, 3)])
@pytest.mark.parametrize("limit", [None, 4])
def test_grey_in_any_row_among_colour_gets_three_channels(
    tmp_path: Path, grey: tuple[int, ...], limit: int | None
) -> None:
    cells: list[bytes | None] = [png(PIXELS[row % 2], "L") if row in grey else png(PIXELS[row % 2]) for row in range(4)]
    write(tmp_path / "train.parquet", cells, [0, 1, 0, 1], NAMES)
    images = load(tmp_path, "train", limit)
    assert images.image_shape == (3, 6, 5)
    assert sum(bool((pixels == pixels[:1]).all()) for pixels in images.pixels) == len(grey)


def test_a_draw_without_colour_is_grey_as_in_a_folder(tmp_path: Path) -> None:
    cells: list[bytes | None] = [png(PIXELS[0], "L"), *[png(PIXELS[0], "L")] * 8, png(PIXELS[1])]
    write(tmp_path / "train.parquet", cells, [0] * 10, NAMES)
    shapes = {load(tmp_path, "train", 2, seed).image_shape for seed in range(12)}
    assert shapes == {(1, 6, 5), (3, 6, 5)}


def test_columns_that_nobody_could_mean_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a" / "train.parquet", [png(PIXELS[0])], [0], columns=("x", "y"))
    with pytest.raises(DataError, match="has the columns x, y; name one of them 'image'"):
        load(tmp_path / "a", "train")
    (tmp_path / "b").mkdir()
    pq.write_table(pa.table({"image": [1], "label": [0]}), tmp_path / "b" / "train.parquet")
    with pytest.raises(DataError, match="column 'image' is int64; need a struct"):
        load(tmp_path / "b", "train")
    write(tmp_path / "c" / "train.parquet", [png(PIXELS[0])], [["ant"]])
    with pytest.raises(DataError, match="label"):
        load(tmp_path / "c", "train")


@pytest.mark.parametrize("names", [NAMES, None])
def test_a_later_file_with_other_columns_is_refused(tmp_path: Path, names: list[str] | None) -> None:
    write(tmp_path / "train-0.parquet", [png(PIXELS[0])], [0], names)
    write(tmp_path / "train-1.parquet", [png(PIXELS[0])], [0], names, columns=("img", "label"))
    with pytest.raises(DataError, match=r"train-1\.parquet: has no column 'image'"):
        load(tmp_path, "train")
    write(tmp_path / "train-1.parquet", [png(PIXELS[0])], [0], names, columns=("image", "class"))
    with pytest.raises(DataError, match=r"train-1\.parquet: has no column 'label'"):
        load(tmp_path, "train")


@pytest.mark.parametrize("label", [2**15, 2**40])
def test_a_label_beyond_all_classes_is_refused(tmp_path: Path, label: int) -> None:
    write(tmp_path / "train.parquet", [png(PIXELS[0])], [label])
    with pytest.raises(DataError, match=f"row 0: is {label}"):
        load(tmp_path, "train")
    write(tmp_path / "test.parquet", [png(PIXELS[0])], [0])
    with pytest.raises(DataError, match=f"holds {label}"):
        load(tmp_path, "test")


def test_missing_and_broken_files_are_refused(tmp_path: Path, folder: Path) -> None:
    (folder / "test.parquet").unlink()
    with pytest.raises(DataError, match=r"no test\*\.parquet or validation"):
        load(folder, "test")
    (folder / "test.parquet").write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(DataError, match=r"test\.parquet: cannot be read as Parquet"):
        load(folder, "test")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "n_classes", "shape"),
    [("cifar10", 10, (3, 32, 32)), ("gtsrb", 43, (3, 32, 32)), ("imagenette", 10, (3, 96, 96))],
)
def test_the_real_sets_are_read(real_data: Path, name: str, n_classes: int, shape: tuple[int, int, int]) -> None:
    images = load(real_data / name, "test", limit=100, seed=1)
    assert (len(images), images.image_shape, images.n_classes) == (100, shape, n_classes)
    assert len(np.unique(images.labels)) > 5
    assert 0.2 < float(images.pixels.mean()) < 0.7


@pytest.mark.parametrize(
    ("label", "says"),
    [
        (b"cat", "holds binary, not class numbers"),
        ([1, 2], "not class numbers"),
        (0.5, "holds double, not class numbers"),
        (-1, "is -1, which means that its class is unknown"),
    ],
)
def test_labels_that_are_no_class_numbers_are_said_as_that(tmp_path: Path, label: Any, says: str) -> None:
    for split in ("train", "test"):
        write(tmp_path / f"{split}.parquet", [png(PIXELS[0])] * 2, [label] * 2)
    with pytest.raises(DataError, match=says) as raised:
        load(tmp_path, "test")
    assert "'label'" in str(raised.value)
