"""The benchmark of start-up keeps the least time of each command, and says how it compares with an empty process."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import startup

SECONDS = {"-c pass": 0.5, "-c import torch": 2.0, "runs": 1.0, "scan": 3.0}


@pytest.mark.process
def test_the_least_time_counts_and_the_first_round_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: Counter[str] = Counter()

    def start(self: startup.Checkout, words: Sequence[str]) -> float:
        name = " ".join(words) if words[0] == "-c" else words[3 if words[2] == "db" else 2]
        begun[name] += 1
        return SECONDS.get(name, 4.0) + {1: -0.4, 2: 0.25, 3: 0.0}.get(begun[name], 1.0)

    monkeypatch.setattr(startup.Checkout, "start", start)
    out = tmp_path / "results" / "startup.jsonl"
    startup.main([startup.HERE], rounds=3, out=out)
    (line,) = map(json.loads, out.read_text().splitlines())
    rows = {row["command"]: (row["seconds"], row["of_python"], row["of_torch"]) for row in line["commands"]}
    assert rows["python -c pass"] == (0.5, 1.0, 0.25)
    assert rows["python -c 'import torch'"] == (2.0, 4.0, 1.0)
    assert rows["simkit db runs"] == (1.0, 2.0, 0.5)
    assert begun["scan"] == 5  # one for the ledger that the others read, and one per round


@pytest.mark.process
def test_a_process_has_its_processor_time(tmp_path: Path) -> None:
    checkout = startup.Checkout(startup.HERE, tmp_path)
    assert 0.0 < checkout.start(startup.NOTHING) < checkout.start(("-c", "sum(range(20_000_000))"))
    assert checkout.simkit == ["-m", "studies.cli.main"]
