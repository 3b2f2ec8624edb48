"""The content of an imported result file, and how it is written: as a file of weights and a file with the truth."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save

from oracles.errors import ModelError
from oracles.model_files.checkpoints import Weights
from oracles.oracle import ImageShape
from simkit.files import make_folder, write_atomically


@dataclass(frozen=True)
class Truth:
    """What a result file states about the attack, None where it states nothing. poisoned: number of training images."""

    tool: str
    source: str
    backdoored: bool | None
    target_class: int | None = None
    poisoned: int | None = None
    data: str | None = None


@dataclass(frozen=True, eq=False)
class Imported:
    """A model from a result file.

    model_name: the other tool's name of its architecture. architecture: simkit's name of the same, None where it has
    none, so that the weights must be loaded into a module of the user's own.
    """

    weights: Weights
    model_name: str | None
    architecture: str | None
    image_shape: ImageShape | None
    n_classes: int | None
    truth: Truth


def write(imported: Imported, folder: Path, name: str) -> tuple[Path, Path]:
    """Write `NAME.safetensors` and `NAME.truth.json` into `folder`; the weights' file never states the truth.

    Raises StorageError, and ModelError where a weight is no plain tensor.
    """
    about = {"architecture": imported.architecture, "n_classes": imported.n_classes, "made_as": imported.model_name}
    metadata = {key: str(value) for key, value in about.items() if value is not None}
    if imported.image_shape is not None:
        metadata["image_shape"] = json.dumps(imported.image_shape)
    make_folder(folder)
    weights, truth = folder / f"{name}.safetensors", folder / f"{name}.truth.json"
    write_atomically(weights, save(imported.weights, metadata))
    write_atomically(truth, (json.dumps(asdict(imported.truth), indent=1) + "\n").encode())
    return weights, truth


def named_weights(path: Path, stored: object) -> Weights:
    """A state_dict without the prefixes of DataParallel. Raises ModelError for anything else."""
    if not isinstance(stored, dict) or not stored:
        raise ModelError(f"{path} holds no state_dict where the model should be")
    odd = [str(name) for name, value in stored.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise ModelError(f"{path}: {odd[0][:80]} is no plain tensor, and {len(odd) - 1} more")
    return {  # copied, since tied weights share memory, which safetensors rejects
        str(name).removeprefix("module."): tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in stored.items()
    }
