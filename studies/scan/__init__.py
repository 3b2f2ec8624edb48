"""Scans one model: `scan`, `detect` for any other black-box detector, and the result of both."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studies.scan.black_box import detect
    from studies.scan.result import ScanResult
    from studies.scan.run import scan

__all__ = ["ScanResult", "detect", "scan"]

_HOMES = {"ScanResult": "studies.scan.result", "detect": "studies.scan.black_box", "scan": "studies.scan.run"}


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that commands that scan nothing do not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
