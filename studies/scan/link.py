"""Tells a model behind a network which run its queries belong to; for any other model this does nothing."""

from __future__ import annotations

from dataclasses import dataclass

from oracles.oracle import Oracle
from oracles.remote.oracle import RemoteOracle, UntilToppedUp, whole
from studies.scan.config import ScanConfig
from studies.scan.ledger_run import DeferredRun


@dataclass(frozen=True, eq=False)
class Link:
    """The network between a run and its model. in_parts: see `RemoteOracle.begin`."""

    remote: RemoteOracle | None
    in_parts: bool

    @classmethod
    def of(cls, oracle: Oracle, config: ScanConfig) -> Link:
        """The link of this model. A user's restriction, or a rate limit of whole calls, must see each call once."""
        remote = oracle if isinstance(oracle, RemoteOracle) else None
        return cls(remote, remote is not None and config.restriction is None and config.oracle.rate_limit is None)

    def begin(self, key: str, first: int, late: DeferredRun) -> None:
        """Before the first query. key: of the run. first: queries that were answered before."""
        if self.remote is not None:
            self.remote.begin(key, first, late, in_parts=self.in_parts)

    def resumable(self, oracle: Oracle) -> Oracle:
        """The model of a run that may be resumed: a spent budget of the API key at the service is not its end."""
        return oracle if self.remote is None else UntilToppedUp(oracle)

    def around(self, oracle: Oracle) -> Oracle:
        """The oracle that the search asks: one that stores each answered call before it waits for the next."""
        return whole(oracle) if self.in_parts else oracle
