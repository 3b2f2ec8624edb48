"""How strong the trigger of a victim is, beside the largest of its family that a search may flag.

How a trigger was drawn follows from the zoo's spec in `benchmarks/zoos`.
"""

from __future__ import annotations

import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from simkit.attacks.attack import Attack
from simkit.attacks.badnets import BadNets
from simkit.attacks.blended import Blended
from simkit.attacks.sinusoidal import Sinusoidal
from simkit.attacks.warping import Warping
from simkit.transforms.breeding import Family
from simkit.transforms.patch import PatchFamily
from simkit.verdict import Rule
from simkit.zoo.spec import ZooSpec
from studies.study.result_line import ResultLine

SHAPE = (3, 32, 32)
"""Shape of the victims' images."""

IMAGE = 32 * 32
"""Their pixels."""

PICTURES = dict.fromkeys(("blended-digit", "blended-sign", "blended-photo"), 0.2)
"""Strata of natural pictures that were blended in, with the largest alpha of their specs."""

FOUR_CORNERS = 4 * 3 * 3
"""Pixels of the trigger of a label-consistent attack: one patch in each corner."""


def share_of_limit(line: ResultLine, rule: Rule, family: Family | None) -> float:
    """The strength of a victim's trigger in multiples of the largest that may be flagged; infinite for other kinds.

    rule: limits the patches of a search without families (family None).
    """
    if family is None:
        return (pixels_of(line) or IMAGE) / (rule.threshold * IMAGE)
    if isinstance(family, PatchFamily):
        pixels = FOUR_CORNERS if line.attack == "label-consistent" else pixels_of(line)
        return math.inf if pixels is None else pixels / (family.largest_share * IMAGE)
    if line.stratum in PICTURES:  # drawn without its data: the largest alpha that the spec allows
        return PICTURES[line.stratum] / limit_of(family) if family.name == "picture" else math.inf
    attack, largest = attack_of(line), limit_of(family)
    match attack:
        case Sinusoidal() if family.name == "wave":
            return attack.amplitude / largest
        case Warping() if family.name == "warp":
            return attack.as_warp(SHAPE).strength / (largest * SHAPE[1])
        case Blended() if family.name == "blend":
            return attack.alpha / largest
    return math.inf


def limit_of(family: Any) -> float:
    """The setting of a family that limits its strength."""
    return float(next(getattr(family, f.name) for f in fields(family) if f.name.startswith("largest_")))


def attack_of(line: ResultLine) -> Attack | None:
    """The attack of a victim, drawn again from the zoo's spec; None for zoos and strata without one."""
    path = Path(__file__).parent / "zoos" / f"{line.zoo}.toml"
    spec = ZooSpec.load(path) if path.exists() else None
    if spec is None or line.stratum not in spec.attacks:
        return None
    return spec.attacks[line.stratum].draw(SHAPE, 10, line.target_classes[0], spec.model_seed(line.index))


def pixels_of(line: ResultLine) -> int | None:
    """The pixels of a BadNets trigger; None for other attacks."""
    if line.attack != "badnets":
        return None
    if sides := re.fullmatch(r"(\d+)x(\d+)", line.stratum):
        return int(sides[1]) * int(sides[2])
    attack = attack_of(line)
    return int(torch.count_nonzero(torch.as_tensor(attack.trigger.mask))) if isinstance(attack, BadNets) else None
