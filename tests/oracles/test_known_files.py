"""Files that people give by mistake are named for what they are, as a model and as data."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracles.errors import ModelError
from oracles.known_files import file_mistaken_for, mistaken_for
from oracles.model_files import load_model

MISTAKEN = {
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a Git LFS pointer"),
    "page": (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page"),
    "page after blanks": (b"\xef\xbb\xbf\n\n  <HTML lang=en>", "a web page"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(64), "an HDF5 file"),
    "gguf": (b"GGUF\3\0\0\0" + bytes(64), "a GGUF file"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(64), "a TensorFlow Lite model"),
}


@pytest.mark.parametrize("name", ["model.pth", "model.onnx", "model.h5", "model.safetensors", "model.tflite"])
@pytest.mark.parametrize(("data", "says"), MISTAKEN.values(), ids=MISTAKEN)
def test_a_model_is_named_for_what_it_is(data: bytes, says: str, name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(ModelError, match=says):
        load_model(file, {})
    assert says in file_mistaken_for(file)


@pytest.mark.parametrize(
    ("name", "says"), [("m.keras", "a Keras model"), ("m.KERAS", "a Keras model"), ("m.pb", "a TensorFlow graph")]
)
def test_a_model_of_another_framework_is_named_by_its_suffix(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04" + bytes(64))
    with pytest.raises(ModelError, match=f"is {says}.*; export it to ONNX"):
        load_model(tmp_path / name, {})


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"version 3", b"\x89PNG\r\n\x1a\n", b"<svg>", b"TFL3" + bytes(8)])
def test_other_files_are_left_to_their_reader(data: bytes) -> None:
    assert mistaken_for(data) == ""


def test_what_cannot_be_read_is_left_to_its_reader(tmp_path: Path) -> None:
    assert file_mistaken_for(tmp_path) == file_mistaken_for(tmp_path / "gone") == ""
