"""The race without niches breeds the best pairs of all, whatever their family and class."""

from __future__ import annotations

import numpy as np

from benchmarks.niche_variants import NICHES, ONE_POOL
from simkit.search.contract import Evidence, Task
from simkit.search.family_race import FamilyRaceConfig
from simkit.search.presets import Preset

TASK = Task((3, 32, 32), 10, (np.arange(60) % 10).astype(np.int32))


def families_of_children(variant: Preset) -> set[str]:
    """The families of the second round's children, where patches alone turned images, all into class 1."""
    assert isinstance(variant.search, FamilyRaceConfig)
    search = variant.search.search(TASK, 0)
    first = search.ask()
    assert first is not None
    families = np.array([first.triggers[k].family for k in range(len(first.triggers))])
    own = TASK.image_classes[first.pairs[:, 1]]
    named = np.where(families[first.pairs[:, 0]] == "patch", 1, own)
    hit = named[:, None] == np.arange(TASK.n_classes)
    search.tell(Evidence(np.where(hit, -0.1, -4.0).astype(np.float32), hit, own[:, None] != np.arange(TASK.n_classes)))
    second = search.ask()
    assert second is not None
    last = range(len(second.triggers) - variant.search.children, len(second.triggers))
    return {second.triggers[k].family for k in last}


def test_a_family_that_answers_better_has_all_children_without_niches_alone() -> None:
    assert families_of_children(ONE_POOL) == {"patch"}
    assert families_of_children(NICHES) == {"patch", "wave", "blend"}


def test_they_differ_in_the_niches_alone() -> None:
    assert isinstance(NICHES.search, FamilyRaceConfig)
    assert isinstance(ONE_POOL.search, FamilyRaceConfig)
    assert vars(NICHES.search) == vars(ONE_POOL.search)
    assert (NICHES.rule, NICHES.driver, NICHES.refine) == (ONE_POOL.rule, ONE_POOL.driver, ONE_POOL.refine)
