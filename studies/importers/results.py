"""What an importer finds in a result file, and the two files that it leaves: weights, and the truth."""

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
    """What a result file states of the attack; None where it does not. poisoned: training images."""

    tool: str
    source: str
    backdoored: bool | None
    target_class: int | None = None
    poisoned: int | None = None
    data: str | None = None


@dataclass(frozen=True, eq=False)
class Imported:
    """A model out of a result file.

    model_name: as the other tool calls it. architecture: the same by a name that simkit knows, None where there is
    none: its weights are scanned in a module of the user's own.
    """

    weights: Weights
    model_name: str | None
    architecture: str | None
    image_shape: ImageShape | None
    n_classes: int | None
    truth: Truth


def write(found: Imported, folder: Path, name: str) -> tuple[Path, Path]:
    """`NAME.safetensors` and `NAME.truth.json` in `folder`: the truth is beside the weights and never in them.

    Raises StorageError; ModelError where a weight is no plain tensor.
    """
    known = {"architecture": found.architecture, "n_classes": found.n_classes, "made_as": found.model_name}
    metadata = {key: str(value) for key, value in known.items() if value is not None}
    if found.image_shape is not None:
        metadata["image_shape"] = json.dumps(found.image_shape)
    make_folder(folder)
    weights, truth = folder / f"{name}.safetensors", folder / f"{name}.truth.json"
    write_atomically(weights, save(found.weights, metadata))
    write_atomically(truth, (json.dumps(asdict(found.truth), indent=1) + "\n").encode())
    return weights, truth


def named_weights(path: Path, stored: object) -> Weights:
    """A state_dict without the prefixes of DataParallel. Raises ModelError on anything else."""
    if not isinstance(stored, dict) or not stored:
        raise ModelError(f"{path} holds no state_dict where the model should be")
    odd = [str(name) for name, value in stored.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise ModelError(f"{path}: {odd[0][:80]} is no plain tensor, and {len(odd) - 1} more")
    return {  # copies: weights that are tied share their memory, which safetensors does not take
        str(name).removeprefix("module."): tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in stored.items()
    }
