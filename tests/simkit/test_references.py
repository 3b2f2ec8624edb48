"""The user's own code by its name: what a name is, and what is told of a name of nothing."""

from __future__ import annotations

import pytest

from simkit.errors import ConfigError
from simkit.references import is_reference, referred


@pytest.mark.parametrize("name", ["json:loads", "os.path:join", "_a.b1:C_d"])
def test_a_module_and_a_name_in_it_are_a_reference(name: str) -> None:
    assert is_reference(name)


@pytest.mark.parametrize("name", ["badnets", "a:b:c", "x:", ":x", "a:b.c", "1a:b", "a-b:c", "a:b\n", " a:b"])
def test_anything_else_is_none(name: str) -> None:
    assert not is_reference(name)
    with pytest.raises(ConfigError, match=r"write package\.module:NAME"):
        referred(name)
