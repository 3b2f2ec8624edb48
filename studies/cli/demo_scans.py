"""A demonstration in about a minute and without a download: two victims, two detectors, four services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

from db.ledger import Ledger
from simkit.data import load
from simkit.files import write_atomically
from simkit.progress import OnProgress
from simkit.transforms.contract import Transform
from simkit.zoo.manifest import Manifest, Victim
from simkit.zoo.spec import ZooSpec
from simkit.zoo.zoo import make
from studies.render.panels import draw_panels, trigger_panel
from studies.report.gather import gather
from studies.report.page import render
from studies.scan.result import ScanResult
from studies.scan.run import scan

DETECTORS = ("b3d", "random-patch")
SERVICES = ("scores", "top3", "label", "noisy")
"""The services through which each detector scans each victim: all scores, top-3 scores, label-only, noisy scores."""

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
"""Settings by detector. On 8x8 images, where a 4x4 patch hides the content, patches must be smaller and more reliable.

The settings of random patches were chosen on 16 victims of the zoo split `tune`, 8 of them clean: all 64 verdicts were
correct. B3D keeps its settings, which are made for larger images: it has no false positive and detects 18 of 32.
"""


@dataclass(frozen=True, eq=False)
class DemoScan:
    """One scan, and the ground truth, which the scan does not see."""

    victim: Victim
    preset: str
    oracle: str
    result: ScanResult

    @property
    def truth(self) -> str:
        return in_words(self.victim.truth, self.victim.target_classes)

    def row(self) -> dict[str, object]:
        """The scan as plain values, for JSON."""
        subject = {"victim": self.victim.file, "preset": self.preset, "oracle": self.oracle, "truth": self.truth}
        return subject | {
            "verdict": self.result.verdict,
            "flagged": list(self.result.flagged),
            "queries": self.result.spent,
            "seconds": round(self.result.seconds, 2),
        }


def in_words(verdict: str, classes: Sequence[int]) -> str:
    """A verdict or the truth in short: the classes where there are some, such as `class 7`, else the verdict."""
    return f"class {', '.join(map(str, classes))}" if classes else verdict


def comparison(scans: Sequence[DemoScan]) -> list[dict[str, str]]:
    """One row per victim and detector, with the verdict and the queries of the scan through each service."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for scan_ in scans:
        names = {"detector": scan_.preset, "truth": scan_.truth}
        row = rows.setdefault((str(scan_.victim.file), scan_.preset), names)
        row[scan_.oracle] = f"{in_words(scan_.result.verdict, scan_.result.flagged)}: {scan_.result.spent:,}"
    return list(rows.values())


COLUMNS = ("detector", "truth", *SERVICES)


def demo(out: Path, progress: OnProgress) -> list[DemoScan]:
    """Train, scan, draw and report into the folder `out`; a second call takes all results from there.

    Writes `zoo`, the ledger `demo.db`, `triggers`, the picture `demo.png` and the report `demo.html`. Raises as `make`,
    `scan` and `gather` do.
    """
    todo = SPEC.models * (1 + len(DETECTORS) * len(SERVICES))
    progress(0, todo, "training two victims")
    zoo = make(SPEC, out / "zoo")
    scans: list[DemoScan] = []
    with Ledger.open(out / "demo.db") as ledger:
        for victim, name, oracle in product(zoo.victims, DETECTORS, SERVICES):
            progress(SPEC.models + len(scans), todo, f"scanning a victim through {oracle} with {name}")
            settings: dict[str, Any] = {"data": "digits", "preset": name, "oracle": oracle, **SETTINGS[name]}
            result = scan(out / "zoo" / str(victim.file), db=ledger, **settings)
            scans.append(DemoScan(victim, name, oracle, result))
    draw(out / "demo.png", zoo, scans)
    write_atomically(out / "demo.html", render(gather(out / "demo.db")).encode())
    return scans


def draw(path: Path, zoo: Manifest, scans: Sequence[DemoScan]) -> None:
    """Draw one row per detector: the original trigger, and the one that each scan of the backdoored victim reversed."""
    backdoored = [s for s in scans if s.victim.truth == "backdoored"]
    original = backdoored[0].victim.trigger(zoo.image_shape)
    assert original is not None
    image = load(zoo.spec.data, "test").take([0]).pixels[0].numpy()
    rows = [
        [trigger_panel("original", original, image)]
        + [trigger_panel(s.oracle, _reversed(s), image) for s in backdoored if s.preset == name]
        for name in DETECTORS
    ]
    draw_panels(path, rows, DETECTORS)


def _reversed(scan: DemoScan) -> Transform:
    return scan.result.classes[scan.victim.target_classes[0]].trigger
