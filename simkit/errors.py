"""Everything this package raises on purpose; each message says what to change."""

from __future__ import annotations


class SimkitError(Exception):
    """Base of the simulation's errors."""


class DataError(SimkitError):
    """A data set that cannot be read, or that does not fit the model or the task."""


class ContractError(SimkitError):
    """A searcher or its driver broke the ask and tell contract."""


class ConfigError(SimkitError, ValueError):
    """A setting outside its range, or settings that exclude each other."""
