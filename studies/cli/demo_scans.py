"""The whole of simkit in a minute, without a download: two victims of the digits, four services, two searchers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from db.ledger import Ledger
from simkit.data import load
from simkit.triggers import Trigger
from simkit.zoo.manifest import Manifest, Victim
from simkit.zoo.spec import ZooSpec
from simkit.zoo.zoo import make
from studies.cli.output import Progress
from studies.render.panels import compare_triggers
from studies.scan.result import ScanResult
from studies.scan.run import scan

SCANS = (("b3d", "scores"), *(("random-patch", oracle) for oracle in ("scores", "top3", "label", "noisy")))
"""Presets, and the services they are tried behind; `b3d` is B3D."""

SPEC = ZooSpec.of(
    {
        **{"name": "demo", "data": "digits", "split": "report", "models": 2, "clean_share": 0.5, "sizes": (2,)},
        "train": {"epochs": 12},
    }
)

SETTINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "b3d": {"budget": 150_000},
        "random-patch": {
            "budget": 10_000,
            "search": {"largest_side": 3, "required_success": 0.85},
            "driver": {"confirmation": {"works": 0.95, "fails": 0.75}},
            "rule": {"threshold": 9},
        },
    }
)
"""Random patches on images of 8x8, where a patch of 4x4 changes what is seen, must be smaller and work more often.

Chosen on 16 victims of the zoo split `tune`, 8 of them clean: all 64 verdicts were right.
"""


@dataclass(frozen=True, eq=False)
class DemoScan:
    """One scan, and the truth that it was not told."""

    victim: Victim
    preset: str
    oracle: str
    result: ScanResult

    def row(self) -> dict[str, object]:
        """For a table."""
        targets = ", ".join(map(str, self.victim.target_classes))
        truth = f"class {targets}" if targets else self.victim.truth
        told = {"victim": self.victim.file, "preset": self.preset, "oracle": self.oracle, "truth": truth}
        return told | {
            "verdict": self.result.verdict,
            "flagged": list(self.result.flagged),
            "queries": self.result.spent,
            "seconds": round(self.result.seconds, 2),
        }


COLUMNS = ("victim", "preset", "oracle", "truth", "verdict", "flagged", "queries", "seconds")


def demo(out: Path, progress: Progress) -> list[DemoScan]:
    """Train, scan and draw into the folder `out`, or go on there; the second time everything is answered at once.

    Leaves `zoo`, the ledger `demo.db`, `triggers` and `demo.png`. Raises what `make` and `scan` raise.
    """
    todo = SPEC.models * (1 + len(SCANS))
    progress(0, todo, "training two victims")
    zoo = make(SPEC, out / "zoo")
    scans: list[DemoScan] = []
    with Ledger.open(out / "demo.db") as ledger:
        for victim in zoo.victims:
            for name, oracle in SCANS:
                progress(SPEC.models + len(scans), todo, f"scanning a victim behind {oracle}, {name}")
                settings: dict[str, Any] = {"data": "digits", "preset": name, "oracle": oracle, **SETTINGS[name]}
                result = scan(out / "zoo" / str(victim.file), db=ledger, **settings)
                scans.append(DemoScan(victim, name, oracle, result))
    draw(out / "demo.png", zoo, scans)
    return scans


def draw(path: Path, zoo: Manifest, scans: Sequence[DemoScan]) -> None:
    """The original trigger beside what each scan of the backdoored victim found for its class."""
    backdoored = [s for s in scans if s.victim.truth == "backdoored"]
    original = backdoored[0].victim.trigger()
    assert original is not None
    found = {f"{s.preset}\n{s.oracle}": _found(s) for s in backdoored}
    image = load(zoo.spec.data, "test").take([0]).pixels[0].numpy()
    compare_triggers(path, {"original": original} | found, image)


def _found(scan: DemoScan) -> Trigger:
    return scan.result.classes[scan.victim.target_classes[0]].trigger
