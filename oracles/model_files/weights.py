"""Reads weights from safetensors files and from files of torch.save, of which only tensors are unpickled."""

from __future__ import annotations

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from oracles.errors import ModelError, one_line
from oracles.model_files.checkpoints import Weights, weights_in
from oracles.model_files.description import SAVE_INSTEAD


def read_safetensors(path: Path) -> tuple[Weights, dict[str, str]]:
    """The tensors and the metadata. Raises ModelError."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 (no dict)
    except Exception as error:  # the library raises errors of several types on damaged headers
        raise ModelError(f"{path} is damaged or no safetensors file: {one_line(error)}") from error


def safetensors_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty for a damaged file or one of another format."""
    if path.suffix.lower() != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return {}  # reading the weights reports the problem


def read_state_dict(path: Path) -> Weights:
    """The state_dict that torch.save wrote, or the one inside a training checkpoint. Raises ModelError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; a failure is reported below, in one line
            stored: Any = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} is damaged, or holds Python objects that only running code from the file could rebuild, which is "
            f"refused; {SAVE_INSTEAD}"
        ) from error
    except Exception as error:  # torch raises errors of many types on bytes that are not a model
        raise ModelError(f"{path} is damaged or no model file ({one_line(error)}); {SAVE_INSTEAD}") from error
    return weights_in(path, stored)
