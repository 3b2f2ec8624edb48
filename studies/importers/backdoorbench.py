"""Imports `attack_result.pt` files of BackdoorBench.

The format is that of SCLBD/BackdoorBench at 3f4b1a9: `save_attack_result` in utils/save_load_attack.py (a dict of
model_name, num_classes, model, data_path, img_size, clean_data, bd_train, bd_test), `retrieve_state` in
utils/bd_dataset_v2.py, and `generate_cls_model` in utils/aggregate_block/model_trainer_generate.py. Older files keep
the labels of poisoned images as a tensor `y` (12ab467).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from oracles.errors import ModelError
from oracles.oracle import ImageShape
from studies.importers.inert import read_inert
from studies.importers.results import Imported, Truth, named_weights

TORCHVISION = frozenset(
    [
        "resnet18",
        "resnet34",
        "alexnet",
        "vgg16",
        "vgg19",
        "squeezenet1_0",
        "densenet161",
        "inception_v3",
        "googlenet",
        "shufflenet_v2_x1_0",
        "mobilenet_v2",
        "resnext50_32x4d",
        "wide_resnet50_2",
        "mnasnet1_0",
        "efficientnet_b0",
    ]
)
"""Models that `generate_cls_model` takes from torchvision; all others, like preactresnet18, are BackdoorBench's own."""


def read_backdoorbench(path: Path) -> Imported:
    """The attacked model in `path`, read without running any pickled code. Raises ModelError for any other file."""
    stored = read_inert(path)
    if not isinstance(stored, dict) or "model" not in stored or "model_name" not in stored:
        raise ModelError(f"{path} is no attack_result.pt of BackdoorBench: it has no 'model' and 'model_name'")
    name = str(stored["model_name"])
    return Imported(
        weights=named_weights(path, stored["model"]),
        model_name=name,
        architecture=f"torchvision:{name}" if name in TORCHVISION else None,
        image_shape=_image_shape(stored.get("img_size")),
        n_classes=_number(stored.get("num_classes")),
        truth=_truth(path, stored),
    )


def _truth(path: Path, stored: Mapping[str, Any]) -> Truth:
    """Backdoored if training images were poisoned; the target class is known if all of them got the same label."""
    data = stored.get("clean_data")
    labels = _poisoned_labels(stored.get("bd_train"))
    targets = set(labels or ())
    return Truth(
        tool="BackdoorBench",
        source=path.name,
        backdoored=None if labels is None else bool(labels),
        target_class=targets.pop() if len(targets) == 1 else None,
        poisoned=None if labels is None else len(labels),
        data=data if isinstance(data, str) else None,
    )


def _poisoned_labels(kept: object) -> list[int] | None:
    """The labels given to poisoned training images; None where the file does not state them."""
    if not isinstance(kept, dict):
        return None
    if isinstance(kept.get("y"), torch.Tensor) and kept.get("original_index") is not None:
        return [int(label) for label in kept["y"].flatten()]
    container = kept.get("bd_data_container")
    entries = container.get("data_dict") if isinstance(container, dict) else None
    return None if not isinstance(entries, dict) else _labels(entries.values())


def _labels(entries: Iterable[Any]) -> list[int] | None:
    """The labels in entries (image, label, original label), or {"path": ..., "other_info": [label, original label]}."""
    labels = []
    for entry in entries:
        if isinstance(entry, dict):
            entry = (None, *entry["other_info"]) if isinstance(entry.get("other_info"), list | tuple) else ()
        label = _number(entry[1]) if isinstance(entry, list | tuple) and len(entry) > 1 else None
        if label is None:
            return None
        labels.append(label)
    return labels


def _image_shape(size: object) -> ImageShape | None:
    """The shape (channels, height, width) of BackdoorBench's [height, width, channels]."""
    if not isinstance(size, list | tuple) or len(size) != 3:
        return None
    height, width, channels = map(_number, size)
    return None if height is None or width is None or channels is None else (channels, height, width)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
