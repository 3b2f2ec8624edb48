"""Names files that people give by mistake: formats of other frameworks, and pages or pointers instead of a download."""

from __future__ import annotations

from pathlib import Path

from oracles.outside import DATA_BYTES, open_outside

_POINTER = "a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"
_PAGE = "a web page, not the file itself; download it again, with the link to the raw file"
_HDF5 = "an HDF5 file (Keras or h5py); export the model to ONNX, or store the arrays in a .npz file"
_TFLITE = "a TensorFlow Lite model; export it to ONNX, for example with tf2onnx"

_GGUF = "a GGUF file, which holds a language model; give an image classifier"

_LONGEST = 512
"""Bytes from the beginning of a file that tell what it is."""


def mistaken_for(beginning: bytes) -> str:
    """What the file is that begins so, and what to do about it; empty if it is none of those known here."""
    text = beginning[:_LONGEST].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        return _POINTER
    if text.startswith((b"<!doctype html", b"<html")):
        return _PAGE
    if beginning.startswith(b"\x89HDF\r\n\x1a\n"):
        return _HDF5
    if beginning.startswith(b"GGUF"):
        return _GGUF
    return _TFLITE if beginning[4:8] == b"TFL3" else ""


def file_mistaken_for(path: Path) -> str:
    """As `mistaken_for`, of a file; empty if it cannot be read or is no regular file."""
    try:
        with open_outside(path, DATA_BYTES) as file:
            return mistaken_for(file.read(_LONGEST))
    except OSError:
        return ""
