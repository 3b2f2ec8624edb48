"""The files of a scan's triggers: whole, equal for equal triggers, and never below a file."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db.errors import StorageError
from db.records import FloatArray, TriggerRow
from simkit.transforms.contract import same
from simkit.transforms.families import transform_from_json
from simkit.transforms.wave import Wave, Waves
from simkit.triggers import Trigger
from simkit.verdict import ClassResult, Verdict
from studies.render.trigger_views import picture
from studies.scan.stored_triggers import trigger_rows
from studies.scan.trigger_files import check_folder, file_stem, save_triggers


def painted(pixels: int, channels: int = 1) -> tuple[FloatArray, FloatArray]:
    """A mask of the first pixels of an 8x8 image, and a grey pattern."""
    mask = np.zeros((1, 8, 8), np.float32)
    mask[0, 0, :pixels] = 1.0
    return mask, np.full((channels, 8, 8), 0.25, np.float32)


def row(target: int, pixels: int, censored: bool = False) -> TriggerRow:
    return TriggerRow(target, *painted(pixels), float(pixels), None if censored else 1.0, 0, 0, censored)


def test_one_picture_a_flagged_class(tmp_path: Path) -> None:
    files = save_triggers(tmp_path / "new", "m-1", (0, 2), [row(0, 1), row(1, 2), row(2, 3)])
    assert [path.name for path in files.png] == ["m-1-class0.png", "m-1-class2.png"]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"m-1.npz", "m-1-class0.png", "m-1-class2.png"}
    with np.load(files.npz) as arrays:
        assert arrays["masks"].shape == (3, 1, 8, 8)
        assert arrays["mask_sizes"].tolist() == [1.0, 2.0, 3.0]


def test_the_smallest_that_works_where_none_is_flagged(tmp_path: Path) -> None:
    files = save_triggers(tmp_path, "m-1", (), [row(0, 1, censored=True), row(1, 4), row(2, 3)])
    assert [path.name for path in files.png] == ["m-1-unflagged-class2.png"]


def test_no_picture_of_an_empty_mask(tmp_path: Path) -> None:
    empty = [row(0, 0, censored=True), row(1, 0, censored=True)]
    assert save_triggers(tmp_path / "none", "m-1", (), empty).png == ()
    files = save_triggers(tmp_path / "some", "m-1", (), [*empty, row(2, 5, censored=True)])
    assert [path.name for path in files.png] == ["m-1-unflagged-class2.png"]


def test_other_families_stand_in_a_json_beside_the_patches(tmp_path: Path) -> None:
    trigger = Waves((1, 8, 8), (Wave((2.0, 0.0), 0.5, (0.1,)),))
    found = ClassResult(1, trigger, trigger.mask_size, 1.0, False, 8)
    (wave,) = trigger_rows(Verdict("backdoored", "decided", (1,), 1.0, (found,), 1.0))
    files = save_triggers(tmp_path, "m-1", (1,), [row(0, 2), wave])
    assert [path.name for path in files.png] == ["m-1-class1.png"]
    assert files.json == tmp_path / "m-1.json"
    assert files.to_json()["json"] == str(files.json)
    with np.load(files.npz) as arrays:
        assert arrays["classes"].tolist() == [0]
    (told,) = json.loads(files.json.read_text())
    assert (told["class"], told["unit"], told["success_rate"]) == (1, "of 255", 1.0)
    assert same(transform_from_json(told["trigger"]), trigger)
    only = save_triggers(tmp_path / "only", "m-1", (1,), [wave])
    with np.load(only.npz) as arrays:
        assert len(arrays["masks"]) == 0
    assert save_triggers(tmp_path / "none", "m-1", (), [row(0, 2)]).json is None


def test_equal_triggers_are_equal_bytes(tmp_path: Path) -> None:
    one, other = (save_triggers(tmp_path / name, "m", (0,), [row(0, 2)]) for name in "ab")
    assert one.npz.read_bytes() == other.npz.read_bytes()
    assert one.png[0].read_bytes() == other.png[0].read_bytes()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_picture_shows_the_mask_and_what_it_paints(channels: int) -> None:
    with Image.open(io.BytesIO(picture(Trigger(*painted(8, channels))))) as image:
        assert image.getpixel((0, 0)) == (255, 255, 255)
        assert image.getpixel((0, image.height - 1)) == (0, 0, 0)
        assert image.getpixel((image.width - 1, 0)) == (64, 64, 64)
        assert image.getpixel((image.width - 1, image.height - 1)) == (128, 128, 128)


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match="is a file"):
            check_folder(folder)
    check_folder(tmp_path / "new" / "below")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "stem"), [("zoo/0007.safetensors", "0007-abc"), ("TemplateNet", "TemplateNet-abc"), ("../..", "model-abc")]
)
def test_names_of_files(name: str, stem: str) -> None:
    assert file_stem(name, "abc") == stem


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, where even root cannot make a file")
@pytest.mark.parametrize("folder", ["/proc/self", "/proc/self/new/below", "/dev/null", "/dev/full/below"])
def test_a_folder_is_tried_not_only_asked_about(folder: str) -> None:
    with pytest.raises(StorageError, match=r"not writable|is a file"):
        check_folder(Path(folder))


def test_a_link_that_leads_nowhere_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(StorageError, match="is a file"):
        check_folder(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]
