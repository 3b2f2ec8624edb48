"""API keys: what they may be, and that no secret is stored or printed twice."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from studies.service.keys import Key

KEY = Key(id="abcd2345", name="lab", sha256="0" * 64, created=datetime(2026, 11, 29, tzinfo=UTC))


@pytest.mark.parametrize(
    ("budget", "topped_up", "cap"), [(None, 0, None), (None, 5, None), (0, 0, 0), (100, 0, 100), (100, 50, 150)]
)
def test_what_is_added_later_belongs_to_the_budget(budget: int | None, topped_up: int, cap: int | None) -> None:
    assert KEY.model_copy(update={"budget": budget, "topped_up": topped_up}).cap == cap
