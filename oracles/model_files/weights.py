"""Reads weights from safetensors files and from files of torch.save, of which only tensors are unpickled."""

from __future__ import annotations

import io
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from oracles.errors import ModelError, one_line
from oracles.model_files.checkpoints import Weights, weights_in
from oracles.model_files.description import SAVE_INSTEAD
from oracles.model_files.pickles import check_pickles
from oracles.outside import OutsideFile

_HEADER_BYTES = 100_000_000
"""The longest header that safetensors itself reads."""


def read_safetensors(path: Path, data: bytes) -> tuple[Weights, dict[str, str]]:
    """The tensors and the metadata in `data`, the bytes of the file `path`. Raises ModelError."""
    try:
        metadata = _metadata(data)
        return dict(sorted(load(data).items())), metadata  # the library gives them in random order
    except Exception as error:  # the library raises errors of several types on damaged headers
        raise ModelError(f"{path} is damaged or no safetensors file: {one_line(error)}") from error


def safetensors_metadata(file: OutsideFile) -> dict[str, str]:
    """The metadata of a safetensors file; empty for a damaged file or one of another format."""
    if file.path.suffix.lower() != ".safetensors":
        return {}
    try:
        return _metadata(file.data)
    except (ValueError, RecursionError):
        return {}  # reading the weights reports the problem


def _metadata(data: bytes) -> dict[str, str]:
    """The `__metadata__` of the header, whose length is stated in the first 8 bytes."""
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= min(_HEADER_BYTES, len(data) - 8):
        raise ValueError(f"its header would have {length:,} bytes")
    header = json.loads(data[8 : 8 + length])
    stated = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(stated, dict) or not all(isinstance(value, str) for value in stated.values()):
        raise ValueError("its metadata is no table of text")
    return stated


def read_state_dict(path: Path, data: bytes) -> tuple[Weights, str]:
    """The state_dict that torch.save wrote, or the one inside a training checkpoint, and a note where it has several.

    Raises ModelError. data: the bytes of the file `path`.
    """
    try:
        with warnings.catch_warnings():
            check_pickles(data)
            warnings.simplefilter("ignore")  # about pickle protocols; a failure is reported below, in one line
            stored: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} is damaged, or holds Python objects that only running code from the file could rebuild, which is "
            f"refused; {SAVE_INSTEAD}"
        ) from error
    except Exception as error:  # torch raises errors of many types on bytes that are not a model
        raise ModelError(f"{path} is damaged or no model file ({one_line(error)}); {SAVE_INSTEAD}") from error
    return weights_in(path, stored)
