"""One scan of the planted victim behind a meter and a recorder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from oracles.budget import Budget
from oracles.meter import CallRecord, MemoryRecorder, Metered, Recorded
from oracles.oracle import Oracle
from oracles.replay import Replayed
from simkit.search.b3d import B3D, B3DConfig
from simkit.search.contract import Search, Task
from simkit.search.driver import Checkpoint, Driver, DriverConfig
from simkit.search.evaluator import Evaluator
from simkit.search.images import ScanImages
from simkit.search.random_patch import RandomPatch, RandomPatchConfig
from simkit.search.sparsity import SparsityConfig
from simkit.verdict import RULES, Rule, Verdict
from tests.fakes import PlantedOracle, planted_images
from tests.patches import patch

IMAGES = ScanImages(search=planted_images(64, seed=1), verify=planted_images(48, seed=2))
TASK = Task(IMAGES.search.image_shape, IMAGES.search.n_classes, IMAGES.search.labels)
DRIVER = DriverConfig(check_images=16, verify_images=12, first_look=5, look_every=5)
B3D_SMALL = B3DConfig(
    samples=16,
    images=2,
    steps=80,
    sigma=0.3,
    learning_rate=0.2,
    mask_init=0.0,
    grid=6,
    baseline="leave_one_out",
    joint=True,
    antithetic=True,
    exact_sparsity=True,
    check_every=5,
    check_images=8,
    required_success=0.9,
    sparsity=SparsityConfig(weight=0.02, patience=3, required_success=0.9),
)


def patches(seed: int = 0, config: RandomPatchConfig | None = None) -> tuple[Search, Rule]:
    return RandomPatch(config or RandomPatchConfig(), TASK, seed), RULES["small_patch"]


def b3d(seed: int = 0, config: B3DConfig = B3D_SMALL) -> tuple[Search, Rule]:
    return B3D(config, TASK, seed), RULES["below_median"]


@dataclass
class Scan:
    """A victim, what wraps it, and the books of one scan."""

    victim: PlantedOracle
    cap: int | None = None
    stored: Sequence[CallRecord] = ()
    told: Oracle | None = None
    recorder: MemoryRecorder = field(default_factory=MemoryRecorder)
    budget: Budget = field(init=False)
    evaluator: Evaluator = field(init=False)

    def __post_init__(self) -> None:
        self.budget = Budget(self.cap, spent=sum(len(call.rows) for call in self.stored))
        metered = Recorded(Metered(self.told or self.victim, self.budget), self.recorder)
        self.evaluator = Evaluator(Replayed(metered, self.stored), self.recorder)

    def run(
        self, searched: tuple[Search, Rule], images: ScanImages = IMAGES, config: DriverConfig = DRIVER
    ) -> list[Checkpoint]:
        """All checkpoints of the scan; its limit is the cap of its budget."""
        search, rule = searched
        return list(Driver(lambda _images: search, images, rule, config, self.cap).run(self.evaluator))

    def verdict(self, searched: tuple[Search, Rule], images: ScanImages = IMAGES) -> Verdict:
        return verdict_of(self.run(searched, images))

    @property
    def purposes(self) -> list[str]:
        """Why each recorded call was made."""
        by_step = {number: purpose for number, purpose, _ in self.recorder.steps}
        return [by_step[call.step] for call in self.recorder.calls if call.step is not None]

    @property
    def recorded(self) -> int:
        return sum(len(call.rows) for call in self.recorder.calls)


def verdict_of(checkpoints: list[Checkpoint]) -> Verdict:
    verdict = checkpoints[-1].verdict
    assert verdict is not None
    return verdict


def bytes_of(verdict: Verdict) -> list[tuple[object, ...]]:
    """Everything a verdict says, by value."""
    head: tuple[object, ...] = (verdict.verdict, verdict.stopped, verdict.flagged, verdict.score)
    head += (verdict.clean_accuracy,)
    return [head] + [
        (
            c.target_class,
            patch(c.trigger).mask.tobytes(),
            patch(c.trigger).pattern.tobytes(),
            c.mask_size,
            c.success_rate,
            c.censored,
        )
        for c in verdict.classes
    ]
