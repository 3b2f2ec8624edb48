"""The readers are tested in this process; tests/oracles/sandbox has them run in another one."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _here(read_here: None) -> None:
    """See `read_here`."""
