"""Planted victims of four classes: benches, recordings and environments in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from oracles.budget import Budget
from oracles.meter import Metered
from oracles.oracle import Oracle
from simkit.env.arms import Bench
from simkit.env.config import ArmsConfig, EnvConfig
from simkit.env.recording import Header, Recording, record
from simkit.search.evaluator import Evaluator
from simkit.search.race import RaceConfig
from simkit.verdict import SequentialTest
from tests.fakes import PlantedOracle, corner_plant
from tests.simkit.search.scans import B3D_SMALL, IMAGES

CLASSES = 4
TARGET = 2
_TEST = SequentialTest(works=0.9, fails=0.5)
ARMS = ArmsConfig(
    classes=B3D_SMALL,
    shared=RaceConfig(first=40, largest_share=4 / 144, queries=700),
    shared_chunk=100,
    patch_test=_TEST,
    strict_test=_TEST,
    check_images=16,
)
ENV = EnvConfig(budget=4_000)


@dataclass
class Books:
    """A bench on a planted victim, clean where there is no target, and what its queries were charged to."""

    target: int | None = TARGET
    budget: Budget = field(default_factory=lambda: Budget(None))
    bench: Bench = field(init=False)

    def __post_init__(self) -> None:
        victim: Oracle = PlantedOracle(plant=None if self.target is None else corner_plant(self.target))
        self.bench = Bench(lambda: Evaluator(Metered(victim, self.budget), None), CLASSES, IMAGES, ARMS, 0)


@cache
def recorded(target: int | None = TARGET, split: str = "tune") -> Recording:
    """The recording of such a victim."""
    bench = Books(target).bench
    queries, accuracy = bench.check()
    arms, gains = record(bench)
    header = Header(
        zoo="planted",
        split=split,  # type: ignore[arg-type]  # pydantic looks
        index=0 if target is None else target,
        model_hash="m",
        data_hash="d",
        truth="clean" if target is None else "backdoored",
        stratum="2x2",
        target_classes=() if target is None else (target,),
        settings={},
        environment={},
        seed=0,
        n_classes=CLASSES,
        check_queries=queries,
        clean_accuracy=accuracy,
        largest_chunks=ARMS.largest_chunks(len(IMAGES.verify)),
    )
    return Recording(header, arms, gains)
