"""Whatever reads a file from outside: what is no regular file is one clear line, at once; none is read beyond a cap."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from db.errors import StorageError
from oracles import spec as oracle_spec
from oracles.errors import InvalidSpec, ModelError
from oracles.model_files import load_model
from simkit.data import load
from simkit.env.recording import Recording
from simkit.errors import ConfigError, DataError
from simkit.zoo.manifest import Manifest
from simkit.zoo.spec import ZooSpec
from studies.importers.backdoorbench import read_backdoorbench
from studies.importers.trojanzoo import read_trojanzoo
from studies.study.result_file import checked_lines, find_line, length, read_lines
from studies.study.study_file import StudyFile
from tests.oracles.model_files.files import ARCHITECTURES, TOLD

pytestmark = pytest.mark.timeout(60)
"""A reader that opens a FIFO as a file waits for ever."""

TYPED = (ConfigError, DataError, InvalidSpec, ModelError, StorageError)


def _model(path: Path) -> object:
    return load_model(path, ARCHITECTURES, TOLD)


def _with_classes(path: Path) -> object:
    (path.parent / "a.png").touch()
    return load(path.parent, "test")


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "model": ("a.pt", _model),
    "torch.export": ("a.pt2", _model),
    "safetensors": ("a.safetensors", _model),
    "onnx": ("a.onnx", _model),
    "manifest": ("manifest.json", lambda path: Manifest.load(path.parent)),
    "zoo spec": ("a.toml", ZooSpec.load),
    "zoo spec as JSON": ("a.json", ZooSpec.load),
    "study file": ("a.toml", StudyFile.load),
    "oracle spec": ("a.toml", oracle_spec.load),
    "oracle spec as JSON": ("a.json", oracle_spec.load),
    "results": ("a.jsonl", read_lines),
    "length of results": ("a.jsonl", length),
    "a result": ("a.jsonl", lambda path: find_line(path, ("", "", 0, "", "", ""))),
    "checked results": ("a.jsonl", lambda path: checked_lines([path])),
    "arrays": ("a.npz", lambda path: load(path, "test")),
    "recording": ("a.arms.npz", Recording.load),
    "Parquet": ("test.parquet", lambda path: load(path.parent, "test")),
    "image": ("a.png", lambda path: load(path.parent, "test")),
    "classes": ("classes.txt", _with_classes),
    "BackdoorBench": ("a.pt", read_backdoorbench),
    "TrojanZoo": ("a.pth", read_trojanzoo),
}
"""The name of a file, and what reads it."""


def refusal(read: Callable[[Path], object], path: Path) -> str:
    """The one line against a file."""
    with pytest.raises(TYPED) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    return str(caught.value)


KINDS = ("FIFO", "device", "socket", "link to a FIFO", "directory")
FOLDERS_ARE_DATA = ("arrays", "image")


@pytest.mark.parametrize(
    ("reader", "kind"),
    [(r, k) for r in READERS for k in KINDS if k != "directory" or r not in FOLDERS_ARE_DATA],
)
def test_what_is_no_regular_file_is_refused_at_once(reader: str, kind: str, tmp_path: Path) -> None:
    name, read = READERS[reader]
    path = tmp_path / name
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(tmp_path / "other")
        path.symlink_to("other")
    assert kind.removeprefix("link to a ") in refusal(read, path)


@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_a_terabyte_is_not_read(reader: str, tmp_path: Path) -> None:
    name, read = READERS[reader]
    with (tmp_path / name).open("wb") as file:
        file.truncate(2**40)
    assert "1,099,511,627,776 bytes" in refusal(read, tmp_path / name)


@pytest.mark.parametrize("reader", ["zoo spec", "zoo spec as JSON", "study file", "oracle spec", "oracle spec as JSON"])
@pytest.mark.parametrize("deep", ["[", '{"a":', "a=[", "a={b=", "a" + ".a" * 3_000 + "=1"])
def test_text_of_any_depth_is_refused_in_one_line(reader: str, deep: str, tmp_path: Path) -> None:
    name, read = READERS[reader]
    (tmp_path / name).write_text(deep if deep.endswith("1") else deep * 20_000)
    refusal(read, tmp_path / name)


@pytest.mark.parametrize("reader", ["zoo spec", "zoo spec as JSON", "study file", "oracle spec", "oracle spec as JSON"])
@pytest.mark.parametrize("text", ["{}9{}", "a = 9{}", '{{"a": 9{}}}'])
def test_a_number_of_any_length_is_refused_in_one_line(reader: str, text: str, tmp_path: Path) -> None:
    name, read = READERS[reader]
    (tmp_path / name).write_text(text.format("9" * 9_999, "9"))
    refusal(read, tmp_path / name)


@pytest.mark.parametrize("reader", ["results", "a result", "checked results"])
def test_a_result_line_of_any_length_or_depth_is_named(reader: str, tmp_path: Path) -> None:
    name, read = READERS[reader]
    for text in (b"[" * 5_000_000, b'{"zoo":' * 100_000, b"9" * 5_000_000):
        (tmp_path / name).write_bytes(text + b"\n")
        if reader == "a result":
            read = partial(find_line, unit=("", "", 0, "", "", ""))
        assert "1: " in refusal(read, tmp_path / name)
