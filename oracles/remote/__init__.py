"""Oracles behind a network: a service of somebody else, or of `simkit serve`, asked like a model in this process.

httpx2, the extra `[remote]`, is imported by the first request and nowhere else.
"""

from __future__ import annotations

from oracles.remote.config import RemoteConfig
from oracles.remote.oracle import RemoteOracle
from oracles.remote.service import remote

__all__ = ["RemoteConfig", "RemoteOracle", "remote"]
