"""The whole of simkit in a minute, without a download: two victims of the digits, four services, eight verdicts."""

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
from studies.output import Progress
from studies.scan import scan
from studies.scan_result import ScanResult
from studies.trigger_picture import compare_triggers

ORACLES = ("scores", "top3", "label", "noisy")

SPEC = ZooSpec.of(
    {
        **{"name": "demo", "data": "digits", "split": "report", "models": 2, "clean_share": 0.5, "sizes": (2,)},
        "train": {"epochs": 12},
    }
)

SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        **{"data": "digits", "budget": 10_000, "preset": "random-patch"},
        "search": {"largest_side": 3, "required_success": 0.85},
        "driver": {"confirmation": {"works": 0.95, "fails": 0.75}},
        "rule": {"threshold": 9},
    }
)
"""For images of 8x8, where a patch of 4x4 changes what is seen: smaller patches, which must work more often.

Chosen on 16 victims of the zoo split `tune`, 8 of them clean: all 64 verdicts were right.
"""


@dataclass(frozen=True, eq=False)
class DemoScan:
    """One scan, and the truth that it was not told."""

    victim: Victim
    oracle: str
    result: ScanResult

    def row(self) -> dict[str, object]:
        """For a table."""
        truth = self.victim.truth if self.victim.target_class is None else f"class {self.victim.target_class}"
        told = {"victim": self.victim.file, "oracle": self.oracle, "truth": truth, "verdict": self.result.verdict}
        return told | {
            "flagged": list(self.result.flagged),
            "queries": self.result.spent,
            "seconds": round(self.result.seconds, 2),
        }


COLUMNS = ("victim", "oracle", "truth", "verdict", "flagged", "queries", "seconds")


def demo(out: Path, progress: Progress) -> list[DemoScan]:
    """Train, scan and draw into the folder `out`, or go on there; the second time everything is answered at once.

    Leaves `zoo`, the ledger `demo.db`, `triggers` and `demo.png`. Raises what `make` and `scan` raise.
    """
    todo = SPEC.models * (1 + len(ORACLES))
    progress(0, todo, "training two victims")
    zoo = make(SPEC, out / "zoo")
    scans: list[DemoScan] = []
    with Ledger.open(out / "demo.db") as ledger:
        for victim in zoo.victims:
            for oracle in ORACLES:
                progress(SPEC.models + len(scans), todo, f"scanning a victim behind {oracle}")
                model = out / "zoo" / str(victim.file)
                scans.append(DemoScan(victim, oracle, scan(model, db=ledger, oracle=oracle, **SETTINGS)))
    draw(out / "demo.png", zoo, scans)
    return scans


def draw(path: Path, zoo: Manifest, scans: Sequence[DemoScan]) -> None:
    """The original trigger beside what each scan of the backdoored victim found for its class."""
    backdoored = [s for s in scans if s.victim.target_class is not None]
    attack = backdoored[0].victim.attack(zoo.image_shape, zoo.spec.rate)
    assert attack is not None
    found = {s.oracle: _trigger_for(s.result, attack.target_class) for s in backdoored}
    image = load(zoo.spec.data, "test").take([0]).pixels[0].numpy()
    compare_triggers(path, {"original": attack.trigger} | found, image)


def _trigger_for(result: ScanResult, target_class: int) -> Trigger:
    return result.classes[target_class].trigger
