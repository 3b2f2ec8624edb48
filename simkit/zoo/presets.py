"""Presets of the zoos on which published figures are measured, by name, so that they can be reproduced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from oracles.errors import likely
from simkit.errors import ConfigError
from simkit.zoo.spec import ZooSpec, ZooSplit

ZooSize: TypeAlias = Literal["small", "fleet", "paper"]


@dataclass(frozen=True)
class ZooPreset:
    """What all zoos of a preset have in common."""

    data: str
    """Source of the images if no other is given."""
    classes: int
    """Number of classes of these images."""
    models: Mapping[ZooSplit, int]
    """Number of victims by split."""
    fields: Mapping[str, Any]
    """Fields of the `ZooSpec`. Training settings were chosen by clean accuracy and time only, before any scan."""
    fleet_models: int
    """Number of victims of the split `report` in the size `fleet`."""
    paper_models: int
    """Number of victims of the split `report` in the size `paper`, as in the slides."""
    paper: Mapping[str, Any]
    """Fields of the `TrainConfig` for the size `paper`."""


_SHORT = {"epochs": 2}
_LONG = {"epochs": 6, "augment": True}

ZOO_PRESETS: Mapping[str, ZooPreset] = MappingProxyType(
    {
        "cifar10": ZooPreset(
            data="torchvision:cifar10",
            classes=10,
            models={"tune": 16, "calibrate": 20, "report": 60},
            fields={
                "sizes": (1, 2, 3),
                "architectures": ("conv4", "flat", "conv4", "flat", "resnet9"),
                "train": _SHORT,
                "train_of": {"resnet9": _LONG},
            },
            fleet_models=200,
            paper_models=200,
            paper={"epochs": 30, "augment": True},
        ),
        "gtsrb": ZooPreset(
            data="torchvision:gtsrb",
            classes=43,
            models={"tune": 8, "calibrate": 8, "report": 44},
            fields={
                "sizes": (1, 2, 3),
                "architectures": ("conv4", "flat", "resnet9"),
                "train": _SHORT,
                "train_of": {"resnet9": {"epochs": 3, "augment": True, "flips": False}},
            },
            fleet_models=172,
            paper_models=172,
            paper={"epochs": 15, "augment": True, "flips": False},
        ),
        # The slides show a trigger of 15x15 on ImageNet: 15 of 224 pixels are 6 of 96. The other two sizes are larger.
        "imagenette": ZooPreset(
            data="torchvision:imagenette",
            classes=10,
            models={"tune": 4, "calibrate": 4, "report": 20},
            fields={
                "image_size": 96,
                "sizes": (6, 9, 11),
                "architectures": ("conv4", "flat", "resnet9"),
                "train": {"epochs": 6, "batch": 64},
                "train_of": {"resnet9": {"epochs": 10, "batch": 64, "augment": True}},
            },
            fleet_models=60,
            paper_models=200,
            paper={"epochs": 40, "augment": True},
        ),
    }
)
"""Presets by name. At least half of all victims have a position-sensitive or residual network."""


def zoo_preset(
    name: str,
    split: ZooSplit,
    models: int | None = None,
    data: str | Path | None = None,
    size: ZooSize = "small",
) -> ZooSpec:
    """The spec of a preset's zoo: a quarter of its victims is clean, and its seeds belong to its split only.

    models: number of victims instead of the preset's. data: a folder of Parquet files, or anything else that
    `simkit.data.load` takes; None downloads the images with torchvision. size: `small` takes minutes on two cores;
    `fleet` has such victims in the numbers of the slides (60 of Imagenette) if the split is `report`; `paper` trains
    ResNet-18 on `cuda`, in these numbers. Raises ConfigError for an unknown name, split or size.
    """
    if name not in ZOO_PRESETS:
        raise ConfigError(f"no zoo preset {name!r}{likely(name, ZOO_PRESETS)}")
    if split not in get_args(ZooSplit):
        raise ConfigError(f"no split {split!r}; choose from {', '.join(get_args(ZooSplit))}")
    if size not in get_args(ZooSize):
        raise ConfigError(f"no size {size!r}; choose from {', '.join(get_args(ZooSize))}")
    preset = ZOO_PRESETS[name]
    fields, suffix = dict(preset.fields), "" if size == "small" else f"-{size}"
    if size == "paper":
        fields |= {"architectures": ("resnet18",), "train": dict(preset.paper) | {"device": "cuda"}, "train_of": {}}
    of_report = {"small": preset.models["report"], "fleet": preset.fleet_models, "paper": preset.paper_models}
    number = of_report[size] if split == "report" else preset.models[split]
    named = {"name": f"{name}-{split}{suffix}", "split": split}
    return ZooSpec.of(
        fields | named | {"data": str(data or preset.data), "models": number if models is None else models}
    )


def check_preset(name: str, n_classes: int) -> None:
    """Raise ConfigError if the images do not have the number of classes of the preset's images."""
    if n_classes != (wanted := ZOO_PRESETS[name].classes):
        raise ConfigError(
            f"preset {name} is for images of {wanted} classes, but these have {n_classes}; give the preset's data, or "
            "make a zoo of your own from a SPEC"
        )
