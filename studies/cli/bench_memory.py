"""`python -m studies.cli.bench_memory N`: record N queries of a free model, and print the peak memory in KiB."""

from __future__ import annotations

import re
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from db.ledger import Ledger
from db.records import RunInfo
from oracles.answers import Answer, Scores
from oracles.budget import Budget
from oracles.oracle import ImageShape, Tag
from oracles.spec import OracleSpec, build

_CALL, _CLASSES = 500, 10


class FreeOracle:
    """Answers every query at once with the same scores."""

    n_classes = _CLASSES
    image_shape: ImageShape = (1, 8, 8)

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`."""
        return Scores(np.full((len(images), _CLASSES), 0.1, np.float32))


def record(queries: int, path: Path) -> None:
    """Send `queries` queries in calls of 500, each a step of its own, and record them in the ledger at `path`."""
    images, rows = torch.zeros(_CALL, 1, 8, 8), np.zeros((_CALL, 2), np.int32)
    with Ledger.open(path) as ledger:
        run = ledger.begin(RunInfo("0" * 64, "free", "0", "none", "0", "{}", "{}", 0, None, "{}"))
        oracle = build(OracleSpec(), FreeOracle(), Budget(None), run)
        for step in range(queries // _CALL):
            oracle.query(images, Tag(run.open_step(step, "search", "{}"), rows))


def peak() -> int:
    """The peak memory of this process, in KiB."""
    status = Path("/proc/self/status")
    if status.exists():  # elsewhere the number may be that of the process that started this one
        match = re.search(r"VmHWM:\s+(\d+)", status.read_text())
        if match is not None:
            return int(match[1])
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used // 1024 if sys.platform == "darwin" else used


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="simkit-bench-") as scratch:
        record(int(sys.argv[1]), Path(scratch) / "memory.db")
    print(peak())
