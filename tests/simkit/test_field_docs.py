"""Settings are described where they are declared, every one of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import pytest

from oracles.torch_options import TorchOptions
from simkit.field_docs import field_docs
from simkit.search.annealing import AnnealingConfig
from simkit.search.b3d import B3DConfig
from simkit.search.driver import DriverConfig
from simkit.search.presets import Preset
from simkit.search.race import RaceConfig
from simkit.search.random_patch import RandomPatchConfig
from simkit.search.refine import RefineConfig
from simkit.search.sparsity import SparsityConfig
from simkit.search.synthesis import SynthesisConfig

SETTINGS: list[type] = [
    *(TorchOptions, Preset, DriverConfig, RefineConfig, SynthesisConfig, SparsityConfig),
    *(B3DConfig, RaceConfig, RandomPatchConfig, AnnealingConfig),
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
