"""A demonstration in about a minute and without a download: four victims, one detector, four services."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path

from db.ledger import Ledger
from simkit.data import load
from simkit.files import write_atomically
from simkit.progress import OnProgress
from simkit.triggers import FloatArray
from simkit.zoo.manifest import Manifest, Victim
from simkit.zoo.spec import CLEAN, ZooSpec
from simkit.zoo.zoo import make
from studies.render.panels import Panel, arrows_panel, draw_panels, effect_panel
from studies.report.gallery.gather import GalleryConfig, ZooSource, gather_gallery
from studies.report.gather import gather
from studies.report.page import render, render_gallery
from studies.scan.result import ScanResult
from studies.scan.run import scan

PRESET = "auto"
SERVICES = ("scores", "top3", "label", "noisy")
"""The services through which each victim is scanned: all scores, top-3 scores, label-only, noisy scores."""

_DRAWN = ("scores", "label")
"""The services whose reversed triggers are in the picture; the page has all of them."""

SPEC = ZooSpec.of(
    {
        **{"name": "demo", "data": "drawn-shapes", "split": "report", "models": 4, "clean_share": 0.25, "sizes": (3,)},
        "kinds": ("multi",),
        "rate": 0.2,
        "train": {"epochs": 10, "batch": 50},
        "held_out": None,
        "attacks": {
            "wave": {
                "kind": "sinusoidal",
                "settings": {"rate": 0.1, "clean_label": False},
                "ranges": {"amplitude": [0.1, 0.15], "frequency": [5.0, 7.0]},
            },
            "warp": {
                "kind": "warping",
                "settings": {"rate": 0.3, "covers": 0.0, "strength": 5.0},
                "ranges": {"field_seed": [0, 1_000_000]},
            },
        },
    }
)
"""One victim with a 3x3 patch, one with a wave, one with a warp, and a clean one."""


@dataclass(frozen=True, eq=False)
class DemoScan:
    """One scan, and the ground truth, which the scan does not see."""

    victim: Victim
    oracle: str
    result: ScanResult

    @property
    def truth(self) -> str:
        return in_words(self.victim.truth, self.victim.target_classes)

    def row(self) -> dict[str, object]:
        """The scan as plain values, for JSON."""
        subject = {"victim": self.victim.file, "trained_with": trained_with(self.victim)}
        return subject | {
            "preset": PRESET,
            "oracle": self.oracle,
            "truth": self.truth,
            "verdict": self.result.verdict,
            "flagged": list(self.result.flagged),
            "queries": self.result.spent,
            "seconds": round(self.result.seconds, 2),
        }


def in_words(verdict: str, classes: Sequence[int]) -> str:
    """A verdict or the truth in short: the classes where there are some, such as `class 7`, else the verdict."""
    return f"class {', '.join(map(str, classes))}" if classes else verdict


def trained_with(victim: Victim) -> str:
    """The trigger that the victim was trained with, in short."""
    return {CLEAN: "no trigger", "3x3": "a 3x3 patch"}.get(victim.stratum, f"a {victim.stratum}")


def comparison(scans: Sequence[DemoScan]) -> list[dict[str, str]]:
    """One row per victim, with the verdict and the queries of the scan through each service."""
    rows: dict[int, dict[str, str]] = {}
    for scan_ in scans:
        row = rows.setdefault(scan_.victim.index, {"trained with": trained_with(scan_.victim), "truth": scan_.truth})
        row[scan_.oracle] = f"{in_words(scan_.result.verdict, scan_.result.flagged)}: {scan_.result.spent:,}"
    return list(rows.values())


COLUMNS = ("trained with", "truth", *SERVICES)


def demo(out: Path, progress: OnProgress) -> list[DemoScan]:
    """Train, scan, draw and report into the folder `out`; a second call takes all results from there.

    Writes `zoo`, the ledger `demo.db`, the report `demo.html`, and the triggers of all victims as the page
    `triggers.html` and the picture `demo.png`. Raises as `make`, `scan`, `gather` and `gather_gallery` do.
    """
    todo = SPEC.models * (1 + len(SERVICES))
    progress(0, todo, "training four victims")
    zoo = make(SPEC, out / "zoo", workers=2)
    scans: list[DemoScan] = []
    strata = (*SPEC.draws(), CLEAN)
    with Ledger.open(out / "demo.db") as ledger:
        for victim, oracle in product(sorted(zoo.victims, key=lambda v: strata.index(v.stratum)), SERVICES):
            progress(SPEC.models + len(scans), todo, f"scanning a victim through {oracle}")
            model = out / "zoo" / str(victim.file)
            result = scan(model, db=ledger, data=SPEC.data, preset=PRESET, oracle=oracle)
            scans.append(DemoScan(victim, oracle, result))
    draw(out / "demo.png", zoo, scans)
    write_atomically(out / "demo.html", render(gather(out / "demo.db")).encode())
    gallery = gather_gallery([ZooSource(out / "zoo")], [out], GalleryConfig(each=1))
    write_atomically(out / "triggers.html", render_gallery(gallery, each=1).encode())
    return scans


def draw(path: Path, zoo: Manifest, scans: Sequence[DemoScan]) -> None:
    """Draw one row per backdoored victim: an image, and the original trigger beside those that scans reversed."""
    images = load(zoo.spec.data, "test")
    rows, labels = [], []
    for _, group in groupby(scans, lambda s: s.victim.index):
        of_one = list(group)
        victim = of_one[0].victim
        if victim.truth == "backdoored":
            image = images.array[images.labels != victim.target_classes[0]][0]
            rows.append(list(_panels(victim, zoo, of_one, image)))
            labels.append(trained_with(victim))
    draw_panels(path, rows, labels, sides=("image", "difference"))


def _panels(victim: Victim, zoo: Manifest, scans: Sequence[DemoScan], image: FloatArray) -> Iterator[Panel]:
    (target,) = victim.target_classes
    original = victim.trigger(zoo.image_shape)
    assert original is not None
    flagged = {s.oracle: s.result.classes[target].trigger for s in scans if target in s.result.flagged}
    yield Panel("an image", image)
    yield effect_panel("original", original, image)
    for oracle in _DRAWN:
        found = flagged.get(oracle)
        yield Panel(f"{oracle}: not found") if found is None else effect_panel(f"reversed: {oracle}", found, image)
    if (found := flagged.get(_DRAWN[0])) is not None:
        yield from arrows_panel(("original", original), (f"reversed: {_DRAWN[0]}", found), image)
