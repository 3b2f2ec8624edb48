"""Formats by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from oracles.errors import InvalidSpec
from oracles.wire.registry import NAMES, wire


@pytest.mark.parametrize("name", NAMES)
def test_a_format_has_the_name_it_is_found_by(name: str) -> None:
    found = wire(name)
    assert found.name == name
    assert {route.purpose for route in found.routes} >= {"classify"}


def test_an_unknown_name_is_refused_with_the_likely_one() -> None:
    with pytest.raises(InvalidSpec, match="did you mean 'vertex'"):
        wire("vortex")


@pytest.mark.process
def test_the_names_are_known_without_a_format_being_loaded() -> None:
    code = "import sys, oracles.wire.registry; print({'PIL', 'torch', 'jsonpath', 'oracles.wire.oip'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
