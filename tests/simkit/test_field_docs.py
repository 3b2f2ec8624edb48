"""Settings are described where they are declared, every one of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import pytest
from pydantic import BaseModel

from oracles.spec import OracleSpec
from oracles.torch_options import TorchOptions
from simkit.attacks.registry import ATTACKS
from simkit.attacks.trigger_json import PatchJson
from simkit.detectors.blackbox.aeva import Aeva
from simkit.detectors.blackbox.boundary import WalkConfig
from simkit.detectors.blackbox.data_free import DataFreeSearch
from simkit.detectors.blackbox.k_arm import KArm
from simkit.detectors.blackbox.label_noise import LabelNoise
from simkit.detectors.blackbox.trigger_search import TriggerSearch
from simkit.detectors.registry import Entry
from simkit.detectors.whitebox.inversion import InversionConfig
from simkit.detectors.whitebox.neural_cleanse import NeuralCleanse
from simkit.detectors.whitebox.tabor import Tabor, Weights
from simkit.env.config import ArmsConfig, EnvConfig
from simkit.env.policies import Greedy, Halving, RaceFirst, Ucb
from simkit.env.recording import Header
from simkit.field_docs import field_docs
from simkit.search.annealing import AnnealingConfig
from simkit.search.b3d import B3DConfig
from simkit.search.driver import DriverConfig
from simkit.search.presets import Preset
from simkit.search.race import RaceConfig
from simkit.search.random_patch import RandomPatchConfig
from simkit.search.refine import RefineConfig, Standing
from simkit.search.sparsity import SparsityConfig
from simkit.search.synthesis import SynthesisConfig
from simkit.verdict import SequentialTest
from simkit.zoo.attack_draw import AttackDraw, TriggerDraw
from simkit.zoo.manifest import Manifest, Victim
from simkit.zoo.presets import ZooPreset
from simkit.zoo.spec import ZooSpec
from simkit.zoo.train_config import TrainConfig

SETTINGS: list[type] = [
    *(TorchOptions, Preset, DriverConfig, RefineConfig, Standing, SynthesisConfig, SparsityConfig),
    *(B3DConfig, RaceConfig, RandomPatchConfig, AnnealingConfig, SequentialTest),
    *(TrainConfig, ZooPreset, *ATTACKS.values()),
    *(Aeva, WalkConfig, DataFreeSearch, KArm, LabelNoise, TriggerSearch, Entry),
    *(InversionConfig, NeuralCleanse, Tabor, Weights),
    *(EnvConfig, ArmsConfig, Halving, Ucb, RaceFirst, Greedy),
]


@dataclass(frozen=True)
class Example:
    """An example."""

    known_as: ClassVar[str] = "example"
    one_line: int = 1
    """One line."""
    undocumented: int = 2
    wrapped: int = 3  # a comment stays a comment
    """Two
    lines."""

    def method(self) -> int:
        """Not a field."""
        return self.one_line


def test_the_string_below_a_field_describes_it() -> None:
    assert field_docs(Example) == {"one_line": "One line.", "wrapped": "Two lines."}


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_every_setting_is_described_by_sentences(kind: type) -> None:
    described = field_docs(kind)
    assert list(described) == [field.name for field in fields(kind)]
    assert [name for name, text in described.items() if not (text[0].isupper() or text[0] == "`")] == []
    assert [name for name, text in described.items() if not text.endswith(".")] == []


def test_the_symbols_of_the_slides_are_found_at_their_settings() -> None:
    b3d, sparsity = field_docs(B3DConfig), field_docs(SparsityConfig)
    assert "k of the slides" in b3d["samples"]
    assert "sigma of the slides" in b3d["sigma"]
    assert "lambda of the slides" in b3d["sparsity"]
    assert "lambda of the slides" in sparsity["weight"]


@pytest.mark.parametrize("kind", [OracleSpec, ZooSpec, AttackDraw, TriggerDraw, Victim, Manifest, PatchJson, Header])
def test_every_field_of_a_model_has_a_description(kind: type[BaseModel]) -> None:
    assert [name for name, field in kind.model_fields.items() if not (field.description or "").endswith(".")] == []
