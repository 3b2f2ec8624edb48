"""Weights from safetensors files and from what torch.save wrote, unpickling tensors alone."""

from __future__ import annotations

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from oracles.errors import ModelError, one_line
from oracles.model_files.description import SAVE_INSTEAD
from oracles.model_files.fitting import Weights


def read_safetensors(path: Path) -> tuple[Weights, dict[str, str]]:
    """The tensors and the metadata. Raises ModelError."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 (no dict)
    except Exception as error:  # the library meets damaged headers with errors of several types
        raise ModelError(f"{path} is damaged or no safetensors file: {one_line(error)}") from error


def safetensors_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself; empty for another file, or a damaged one."""
    if path.suffix.lower() != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return {}  # the one who reads the weights tells what is wrong


def read_state_dict(path: Path) -> Weights:
    """The state_dict that torch.save wrote, or the one inside a training checkpoint. Raises ModelError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols; what cannot be read is told below, in one line
            stored: Any = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} is damaged, or holds Python objects that only running code from the file could rebuild, which is "
            f"refused; {SAVE_INSTEAD}"
        ) from error
    except Exception as error:  # torch meets bytes that are no model with whatever its parser stumbles upon
        raise ModelError(f"{path} is damaged or no model file ({one_line(error)}); {SAVE_INSTEAD}") from error
    return weights_in(path, stored)


def weights_in(path: Path, stored: object) -> Weights:
    """The state_dict itself, or the one inside a training checkpoint; DataParallel's prefix is dropped."""
    for key in ("state_dict", "model_state_dict"):
        if isinstance(stored, dict) and isinstance(stored.get(key), dict):
            stored = stored[key]
    if not isinstance(stored, dict) or not stored or not all(isinstance(v, torch.Tensor) for v in stored.values()):
        raise ModelError(f"{path} holds a {type(stored).__name__}, not a state_dict of named tensors; {SAVE_INSTEAD}")
    weights = {str(name): tensor for name, tensor in stored.items()}
    if all(name.startswith("module.") for name in weights):
        return {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    return weights
