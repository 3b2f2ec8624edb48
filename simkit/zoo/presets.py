"""The zoos that figures are quoted on: what is in each, by name, so that two people mean the same one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from simkit.errors import ConfigError
from simkit.zoo.spec import ZooSpec, ZooSplit

ZooSize: TypeAlias = Literal["small", "paper"]


@dataclass(frozen=True)
class ZooPreset:
    """What a preset's zoos have in common.

    data: where the images come from when nobody says. classes: of those images. models: victims by split. fields: of
    the `ZooSpec`; how the architectures are trained was chosen by clean accuracy and time alone, before any victim was
    scanned. paper_models: of `report` in the paper's size, as the slides count them. paper: how its network is trained,
    of a `TrainConfig`.
    """

    data: str
    classes: int
    models: Mapping[ZooSplit, int]
    fields: Mapping[str, Any]
    paper_models: int
    paper: Mapping[str, Any]


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
            paper_models=172,
            paper={"epochs": 15, "augment": True, "flips": False},
        ),
        # The slides show a trigger of 15x15 on ImageNet: of 224 pixels that is 6 of 96; the other two are larger.
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
            paper_models=200,
            paper={"epochs": 40, "augment": True},
        ),
    }
)
"""Preset name -> what its zoos are made of; half of all victims or more have a position-sensitive or residual net."""


def zoo_preset(
    name: str,
    split: ZooSplit,
    models: int | None = None,
    data: str | Path | None = None,
    size: ZooSize = "small",
) -> ZooSpec:
    """The spec of a preset's zoo: a quarter clean, seeds of its split alone.

    models: instead of the preset's number. data: a folder of Parquet files or what else `simkit.data.load` takes;
    None downloads by torchvision. size: `small` for two cores and minutes; `paper` trains ResNet-18 on `cuda`, as many
    as the slides count. Raises ConfigError for a name or split that there is not.
    """
    if name not in ZOO_PRESETS:
        raise ConfigError(f"no zoo preset {name!r}; choose from {', '.join(ZOO_PRESETS)}")
    if split not in get_args(ZooSplit):
        raise ConfigError(f"no split {split!r}; choose from {', '.join(get_args(ZooSplit))}")
    if size not in get_args(ZooSize):
        raise ConfigError(f"no size {size!r}; choose from {', '.join(get_args(ZooSize))}")
    preset, paper = ZOO_PRESETS[name], size == "paper"
    fields = dict(preset.fields)
    if paper:
        fields |= {"architectures": ("resnet18",), "train": dict(preset.paper) | {"device": "cuda"}, "train_of": {}}
    number = preset.paper_models if paper and split == "report" else preset.models[split]
    named = {"name": f"{name}-{split}" + ("-paper" if paper else ""), "split": split}
    return ZooSpec.of(
        fields | named | {"data": str(data or preset.data), "models": number if models is None else models}
    )


def check_preset(name: str, n_classes: int) -> None:
    """Raise ConfigError where images of so many classes cannot be those that the preset is for."""
    if n_classes != (wanted := ZOO_PRESETS[name].classes):
        raise ConfigError(
            f"preset {name} is for images of {wanted} classes, these have {n_classes}; name its own data, or make a zoo"
            " of your own from a SPEC"
        )
