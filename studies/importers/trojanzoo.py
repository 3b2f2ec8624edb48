"""Imports attack results of TrojanZoo: `NAME.pth`, which lies beside the mark NAME.npy.

The format is that of ain-soph/trojanzoo: `Model.save` in trojanzoo/models.py writes a state_dict with names below
`features.` and `classifier.`; `BackdoorAttack.save` and `get_filename` in trojanvision/attacks/abstract.py (036f7e4)
name the file after the attack: `MARK_tarT_alphaA_mark(H,W)`. Images are normalised outside the weights.
"""

from __future__ import annotations

import re
from pathlib import Path

from oracles.errors import ModelError
from oracles.model_files.checkpoints import Weights
from oracles.oracle import ImageShape
from studies.importers.inert import read_inert
from studies.importers.results import Imported, Truth, named_weights

_ATTACK = re.compile(r"_tar(\d+)(?:_|$)")
_RESNETS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
_LARGE_KERNEL = 7
"""Kernel size of the first convolution in torchvision's ResNets; TrojanZoo's `_comp` models have 3 and no pooling."""


def read_trojanzoo(path: Path, image_shape: ImageShape | None = None) -> Imported:
    """The model in `path`, with the target class if the file has TrojanZoo's original name. Raises ModelError.

    The weights of a plain resnet18 or resnet34 get torchvision's names; all others keep theirs, for a module of the
    user's own.
    """
    weights = named_weights(path, read_inert(path))
    if not any(name.startswith(("features.", "classifier.")) for name in weights):
        raise ModelError(f"{path} is no model of TrojanZoo: it has no weights below features. and classifier.")
    name = _resnet(weights)
    attack = _ATTACK.search(path.stem)
    heads = [value for key, value in weights.items() if key.startswith("classifier.") and value.ndim == 2]
    return Imported(
        weights={_plain(key): value for key, value in weights.items()} if name else weights,
        model_name=name,
        architecture=f"torchvision:{name}" if name else None,
        image_shape=image_shape,
        n_classes=len(heads[-1]) if heads else None,
        truth=Truth("TrojanZoo", path.name, True if attack else None, int(attack[1]) if attack else None),
    )


def _plain(name: str) -> str:
    return name.removeprefix("features.").removeprefix("classifier.")


def _resnet(weights: Weights) -> str | None:
    """The name of the torchvision ResNet of basic blocks that has exactly these weights, None where there is none."""
    first = weights.get("features.conv1.weight")
    if first is None or first.shape[-1] != _LARGE_KERNEL or "features.layer1.0.conv3.weight" in weights:
        return None
    blocks = tuple(
        sum(bool(re.fullmatch(rf"features\.layer{layer}\.\d+\.conv1\.weight", name)) for name in weights)
        for layer in (1, 2, 3, 4)
    )
    return next((name for name, counts in _RESNETS.items() if counts == blocks), None)
