"""Triggers of tests that know they are patches."""

from __future__ import annotations

from simkit.transforms.contract import Candidates, Transform
from simkit.triggers import Trigger, Triggers


def patch(trigger: Transform) -> Trigger:
    """The trigger, which must be a mask and a pattern."""
    assert isinstance(trigger, Trigger)
    return trigger


def stack(candidates: Candidates) -> Triggers:
    """The candidates, which must be a stack of masks and patterns."""
    assert isinstance(candidates, Triggers)
    return candidates
