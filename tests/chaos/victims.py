"""A small backdoored model as files, the scans that are broken off, and everything a scan leaves as one SHA-256."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from studies.cli.main import main
from tests.fakes import planted_images, templates


class Net(nn.Module):
    """The planted victim; a white corner means class 3."""

    def __init__(self) -> None:
        super().__init__()
        self.templates = nn.Parameter(torch.from_numpy(templates(4, (1, 12, 12))).reshape(4, -1).T.contiguous())
        self.target = nn.Parameter(torch.tensor([0.0, 0.0, 0.0, 20.0]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        looks = torch.clip(10.0 * (images - 0.5), -1.0, 1.0).flatten(1)
        white = torch.sigmoid(15.0 * (images[:, :, :2, :2].mean(dim=(1, 2, 3)) - 0.8))
        logits: torch.Tensor = 20.0 * looks @ self.templates / len(self.templates) + white[:, None] * self.target
        return logits


@dataclass(frozen=True)
class Victim:
    """model: a TorchScript file. data: an .npz of 112 images."""

    model: Path
    data: Path

    @classmethod
    def made(cls, folder: Path) -> Victim:
        images = planted_images(112)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trace: Callable[..., torch.jit.ScriptModule] = torch.jit.trace
            torch.jit.save(trace(Net().eval(), images.pixels[:2]), folder / "model.pt")
        np.savez(folder / "images.npz", x_test=images.pixels.numpy(), y_test=images.labels)
        return cls(folder / "model.pt", folder / "images.npz")


@dataclass(frozen=True)
class Scenario:
    """A scan by command; options: what is given besides model, data and ledger."""

    name: str
    options: tuple[str, ...]

    def args(self, victim: Victim, folder: Path) -> list[str]:
        """The command: its ledger is `scan.db` of `folder`, its triggers lie in `triggers` there."""
        files = ("--data", str(victim.data), "--db", str(folder / "scan.db"), "--json")
        images = ("search_images=64", "verify_images=48", "driver.check_images=16")
        return [str(victim.model), *files, *self.options, *(part for s in images for part in ("--set", s))]


def _patches(name: str, oracle: str, budget: int = 20_000, more: tuple[str, ...] = ()) -> Scenario:
    few = ("--set", "search.rounds=60", "--set", "driver.first_look=20", *more)
    return Scenario(name, ("--preset", "random-patch", "--oracle", oracle, "--budget", str(budget), *few))


def _b3d(name: str, oracle: str, budget: int = 40_000) -> Scenario:
    few = ("--set", "search.steps=12")
    return Scenario(name, ("--preset", "b3d", "--oracle", oracle, "--budget", str(budget), *few))


SCENARIOS = (
    _patches("random-patch", "scores"),
    _patches("random-patch, noisy", "noisy"),
    _patches("random-patch, budget ends", "label", 500),
    _patches(
        "random-patch, told to come later",
        '{"rate_limit": "9 calls/minute", "rate_burst": 2, "rate_policy": "refuse", "price_per_thousand": 1.5}',
    ),
    _patches(
        "random-patch, near-duplicates",
        '{"near_duplicate": 0.02, "near_duplicate_share": 0.9, "rate_limit": "10/second", "seconds_per_call": 0.1}',
    ),
    _patches(
        "random-patch, watched, answered from cache",
        '{"decimals": 2, "watch": {"detector": "blacklight", "action": "cached", "threshold": 5}}',
    ),
    _patches("random-patch, watched, banned", '{"watch": {"detector": "prada", "action": "ban"}}'),
    _b3d("b3d, watched, coarser", '{"watch": {"detector": "piha", "action": "coarse", "decimals": 2}}'),
    _b3d("b3d", "scores"),
    _b3d("b3d, noisy labels", '{"label_only": true, "input_noise": 0.01}'),
    _b3d("b3d, budget ends", "top3", 3_000),
)
_TRUSTED = ("--trust-model",)
"""The model runs in the scan's own process. Starting another for it takes longer than the scan, and what befalls the
ledger is the same: `test_kills` breaks off scans whose model has a process of its own."""

SHORT = _patches("random-patch, trusted", "scores", more=_TRUSTED)
"""The fastest one, for faults that have nothing to do with the searcher."""

REFUSED = _patches("refused", "scores", 10, _TRUSTED)
"""The first call is refused: a verdict of no answer at all."""

_ROWS = (
    "SELECT id, key, model_hash, data_hash, oracle, config, seed, budget, environment, state FROM runs ORDER BY id",
    "SELECT id, run_id, number, purpose, state FROM steps ORDER BY run_id, number",
    "SELECT run, call, step, purpose, image, candidate, label, score, answer, charged, query FROM queries"
    " ORDER BY run, query",
    "SELECT run_id, step_id, queries, reason FROM refusals ORDER BY id",
    "SELECT run_id, detector, score, first, queries, action FROM alarms ORDER BY id",
    "SELECT run_id, target_class, channels, height, width, mask, pattern, mask_size, success_rate, successes, trials,"
    " censored FROM triggers ORDER BY run_id, target_class",
    "SELECT run_id, verdict, stopped, flagged, score, rule, threshold, threshold_source, spent, refused,"
    " clean_accuracy, notes, cost, api_seconds FROM verdicts ORDER BY run_id",
)
"""All that a ledger holds, but for when and how fast it was."""


def content(db: Path) -> str:
    """A SHA-256 over every row of the ledger at `db`, but for times."""
    return _of_rows(db, _ROWS)


def result(folder: Path) -> str:
    """A SHA-256 over verdict and triggers, as rows and as files, of a scan into `folder`.

    But for what a kill leaves of a file that it was writing, see `simkit.files.write_atomically`.
    """
    digest = hashlib.sha256(_of_rows(folder / "scan.db", _ROWS[-2:]).encode())
    paths = (path for path in (folder / "triggers").iterdir() if not path.match(".simkit-*.tmp"))
    for path in sorted(paths):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def left(folder: Path) -> str:
    """All that a scan into `folder` left: every row, and names and bytes of the trigger files."""
    return content(folder / "scan.db") + result(folder)


def _of_rows(db: Path, statements: Sequence[str]) -> str:
    digest = hashlib.sha256()
    with reading(db) as connection:
        for sql in statements:
            for row in connection.execute(sql):
                digest.update(repr(row).encode() + b"\n")
    return digest.hexdigest()


def scan(victim: Victim, scenario: Scenario, folder: Path) -> int:
    """The scan in this process, and its exit code."""
    with redirect_stdout(io.StringIO()):
        return main(["scan", *scenario.args(victim, folder)])


def unbroken(victim: Victim, scenario: Scenario, folder: Path) -> str:
    """What a scan leaves that nothing befalls."""
    assert scan(victim, scenario, folder) in (0, 3)
    return left(folder)


def answered(db: Path) -> int:
    """How many queries the ledger at `db` holds; 0 where there is none. Raises AssertionError if it is not sound."""
    if not db.exists():
        return 0
    with reading(db) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        calls, numbers = (
            "SELECT coalesce(sum(charged), 0), count(*) FROM calls",
            "SELECT count(DISTINCT number) FROM calls",
        )
        charged, rows = connection.execute(calls).fetchone()
        assert connection.execute(numbers).fetchone() == (rows,)
        return int(charged)


def reading(db: Path) -> closing[sqlite3.Connection]:
    """A connection that leaves log and file as they are, for the next scan to find as the last one left them."""
    return closing(sqlite3.connect(f"{db.resolve().as_uri()}?mode=ro", uri=True))
