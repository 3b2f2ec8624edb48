"""Every searcher keeps the contract of ask and tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simkit.search.annealing import Annealing, AnnealingConfig
from simkit.search.b3d import B3D, B3DConfig
from simkit.search.contract import Search, Task
from simkit.search.family_race import FamilyRace, FamilyRaceConfig
from simkit.search.leaps import LeapConfig
from simkit.search.race import Race, RaceConfig
from simkit.search.random_patch import RandomPatch, RandomPatchConfig
from simkit.search.source_race import SourceRace, SourceRaceConfig
from simkit.transforms.patch import PatchFamily
from tests.contracts.search import SearchContract, advance

SLIDES = B3DConfig(samples=6, images=3, steps=8, mask_init=0.0, check_every=2, check_images=4, required_success=0.4)
EFFICIENT = B3DConfig(
    samples=6,
    images=2,
    steps=8,
    mask_init=0.0,
    grid=3,
    baseline="leave_one_out",
    joint=True,
    antithetic=True,
    exact_sparsity=True,
    check_every=2,
    check_images=4,
    required_success=0.4,
)
PATCHES = RandomPatchConfig(fresh=8, retests=6, rounds=12, required_trials=2, most_trials=6, keep=5)
RACE = RaceConfig(
    largest_share=0.2, first=8, fresh=3, children=4, keep=20, queries=400, restart=150, required_trials=2, test_batch=2
)
FAMILIES = FamilyRaceConfig(
    patch=PatchFamily(largest_share=0.2),
    whole_from=1,
    first=8,
    fresh=3,
    children=4,
    keep=20,
    queries=400,
    restart=150,
    test_batch=2,
    leap=LeapConfig(each=1, after=20),
)
SOURCES = SourceRaceConfig(replace(RACE, queries=100), least_images=2)
ANNEALING = AnnealingConfig(images=3, draws=3, steps=4, chains=3, required_success=0.6)


class TestB3DAsOnTheSlides(SearchContract):
    def make(self, task: Task, seed: int) -> Search:
        return B3D(SLIDES, task, seed)


class TestB3DEfficient(SearchContract):
    def make(self, task: Task, seed: int) -> Search:
        return B3D(EFFICIENT, task, seed)


class TestRandomPatch(SearchContract):
    def make(self, task: Task, seed: int) -> Search:
        return RandomPatch(PATCHES, task, seed)


class TestRace(SearchContract):
    def make(self, task: Task, seed: int) -> Search:
        return Race(RACE, task, seed)


class TestAnnealing(SearchContract):
    def make(self, task: Task, seed: int) -> Search:
        return Annealing(ANNEALING, task, seed)


class TestFamilyRace(SearchContract):
    def make(self, task: Task, seed: int) -> Search:
        return FamilyRace(FAMILIES, task, seed)


class TestSourceRace(SearchContract):
    def make(self, task: Task, seed: int) -> Search:
        return SourceRace(SOURCES, task, seed)

    def test_an_image_of_unknown_class_may_be_used(self) -> None:
        """It belongs to no source, and without known classes there is nothing to search."""
        task = Task((1, 4, 4), 2, np.array([-1, 1, 1, -1], dtype=np.int32))
        assert {*np.concatenate([p.pairs[:, 1] for p in advance(self.make(task, 0), 3, task)])} <= {1, 2}
        assert self.make(replace(task, image_classes=np.full(3, -1, np.int32)), 0).ask() is None
