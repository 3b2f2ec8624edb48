"""The named settings of a scan: a search, the rule that judges its triggers, and how the driver looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from simkit.errors import ConfigError
from simkit.search.b3d import B3D
from simkit.search.b3d_config import B3DConfig
from simkit.search.contract import Search, Task
from simkit.search.driver import DriverConfig
from simkit.search.random_patch import RandomPatch, RandomPatchConfig
from simkit.search.sparsity import SparsityConfig

SearchConfig: TypeAlias = B3DConfig | RandomPatchConfig


@dataclass(frozen=True)
class Preset:
    """All settings of a scan that concern the search.

    search: of the searcher, its type says which. rule: a name in `simkit.verdict.RULES`. driver: see `DriverConfig`.
    """

    search: SearchConfig
    rule: str
    driver: DriverConfig = field(default_factory=DriverConfig)


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        # the slides' estimators; the constants are the defaults of B3DConfig, which names their sources
        "slides": Preset(B3DConfig(), "below_median"),
        # chosen on tune victims: big pattern steps and fast updates while a pixel of mask costs much from the start
        "efficient": Preset(
            B3DConfig(
                samples=100,
                images=1,
                steps=120,
                sigma=1.0,
                learning_rate=0.2,
                mask_limit=3.0,
                tile=2,
                baseline="leave_one_out",
                joint=True,
                antithetic=True,
                exact_sparsity=True,
                sparsity=SparsityConfig(
                    weight=1e-2,
                    mode="proportional",
                    raise_by=1.22,
                    lower_by=1.1,
                    required_success=0.8,
                    smoothing=0.6,
                    least=1e-3,
                    most=0.3,
                ),
            ),
            "below_median",
        ),
        "random-patch": Preset(RandomPatchConfig(), "small_patch", DriverConfig(first_look=10, look_every=5)),
    }
)


def preset(name: str) -> Preset:
    """The preset of that name. Raises ConfigError if there is none."""
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}; choose from {', '.join(PRESETS)}")
    return PRESETS[name]


def build_search(config: SearchConfig, task: Task, seed: int) -> Search:
    """A fresh search of the kind that `config` is for. Raises ConfigError if the task cannot be searched so."""
    if isinstance(config, RandomPatchConfig):
        return RandomPatch(config, task, seed)
    return B3D(config, task, seed)
