"""A scan over HTTP in a process of its own, which a test kills."""

from __future__ import annotations

from pathlib import Path

import torch

from oracles.remote import caller, transport
from studies.scan import run
from tests.studies.scans import scanned

LOADED = (transport, run)
"""Imported once, before the processes are forked."""


def scan_in_child(url: str, db: Path, in_flight: int) -> None:
    """Scan the service at `url`; a run in `db` goes on."""
    torch.set_num_threads(1)
    caller.FIRST_WAIT = 0.002
    scanned(url, budget=700, db=db, remote={"in_flight": in_flight})
