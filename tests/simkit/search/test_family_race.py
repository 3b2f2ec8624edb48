"""The race of families: what it finds, what it demands, and what its settings refuse."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simkit.errors import ConfigError
from simkit.search.contract import Evidence, Proposal, Task
from simkit.search.family_race import FamilyRace, FamilyRaceConfig
from simkit.transforms.blend import Blend, BlendFamily
from simkit.transforms.contract import Transform
from simkit.transforms.patch import PatchFamily
from simkit.transforms.warp import Warp, WarpFamily
from simkit.transforms.wave import WaveFamily, Waves

TASK = Task((3, 16, 16), 3, (np.arange(60) % 3).astype(np.int32))
CONFIG = FamilyRaceConfig(patch=None, queries=2500, restart=1500, whole_from=1)
Turns = Callable[[Transform], float]
"""How surely a trigger turns an image into class 1, from 0 to 1."""


def along(trigger: Transform) -> float:
    """Waves that run across, of any colour and phase."""
    if not isinstance(trigger, Waves):
        return 0.0
    return max(float(abs(w.cycles[1]) < 0.8 and 2.0 < abs(w.cycles[0]) < 6.0) for w in trigger.waves)


def bent(trigger: Transform) -> float:
    """Warps that shift the upper left to the right."""
    if not isinstance(trigger, Warp):
        return 0.0
    return float(np.clip(trigger.field[:8, :8, 0].mean() / 1.2, 0.0, 1.0))


def red(trigger: Transform) -> float:
    """Pictures whose first channel is bright in the first rows."""
    if not isinstance(trigger, Blend):
        return 0.0
    light = max(float(layer.picture(TASK.image_shape)[0, :4].mean()) for layer in trigger.layers)
    return float(np.clip((light - 0.4) / 0.3, 0.0, 1.0))


def nothing(trigger: Transform) -> float:
    return 0.0


def answers(proposal: Proposal, turns: Turns) -> Evidence:
    """Class 1 rises with what `turns` says and is hit from 0.8 on; else an image is what it is."""
    own = TASK.image_classes[proposal.pairs[:, 1]]
    sure = np.array([turns(proposal.triggers[k]) for k in range(len(proposal.triggers))])[proposal.pairs[:, 0]]
    named = np.where(sure >= 0.8, 1, own)
    hit = named[:, None] == np.arange(3)
    score = np.where(hit, -0.1, -4.0)
    score[:, 1] = np.where(hit[:, 1], -0.1, -4.0 + 3.0 * sure)
    return Evidence(score.astype(np.float32), hit, own[:, None] != np.arange(3))


def raced(turns: Turns, config: FamilyRaceConfig = CONFIG, seed: int = 0) -> tuple[FamilyRace, list[Proposal]]:
    search = FamilyRace(config, TASK, seed)
    asked: list[Proposal] = []
    while (proposal := search.ask()) is not None:
        asked.append(proposal)
        search.tell(answers(proposal, turns))
    return search, asked


@pytest.mark.parametrize(("turns", "family"), [(along, "wave"), (bent, "warp"), (red, "blend")])
def test_a_backdoor_of_each_family_is_found_for_its_class_alone_within_the_cap(turns: Turns, family: str) -> None:
    search, _ = raced(turns)
    first, target, last = search.results()
    assert (target.censored, target.trigger.family) == (False, family)
    assert turns(target.trigger) >= 0.8
    assert first.censored
    assert last.censored
    settings = next(f for f in CONFIG.families if f.name == family)
    assert target.test == settings.test
    most = {"wave": 40.0, "warp": 1.5, "blend": 0.15}[family]
    assert target.trigger.strength <= most + 1e-6


def test_nothing_is_found_where_nothing_is_and_the_race_keeps_to_its_queries() -> None:
    search, asked = raced(nothing)
    assert all(result.censored for result in search.results())
    queries = sum(len(proposal.pairs) for proposal in asked)
    assert CONFIG.queries <= queries < CONFIG.queries + 100
    assert search.over


def test_every_family_gets_its_share_of_fresh_candidates() -> None:
    proposal = FamilyRace(replace(CONFIG, patch=PatchFamily()), TASK, 0).ask()
    assert proposal is not None
    counts = Counter(proposal.triggers[k].family for k in range(len(proposal.triggers)))
    assert set(counts) == {"patch", "wave", "blend", "warp"}
    assert min(counts.values()) > 15


def test_a_success_that_nature_reaches_is_not_enough() -> None:
    """A wave that turns four of five images passes neither the screen nor what stands before it."""

    def sometimes(trigger: Transform) -> float:
        return along(trigger)

    search = FamilyRace(CONFIG, TASK, 0)
    turn = 0
    while (proposal := search.ask()) is not None:
        evidence = answers(proposal, sometimes)
        spoiled = (np.arange(len(evidence.hit)) + turn) % 5 == 0
        hit, score = evidence.hit.copy(), evidence.score.copy()
        hit[spoiled], score[spoiled] = False, -4.0
        hit[spoiled, 0] = True
        search.tell(Evidence(score, hit, evidence.valid))
        turn += 1
    assert search.results()[1].censored


def test_the_state_names_family_class_and_share() -> None:
    search, _ = raced(along)
    state: dict[str, Any] = json.loads(search.state())
    assert (state["best_family"], state["best_class"]) == ("wave", 1)
    assert state["candidates"] <= CONFIG.keep


def test_images_that_rank_nothing_are_asked_in_tests_alone() -> None:
    search = FamilyRace(CONFIG, TASK, 0)
    tested = set(range(36, 60))
    while (proposal := search.ask()) is not None:
        under_test = json.loads(search.state())["tested_class"] is not None
        used = set(proposal.pairs[:, 1].tolist())
        assert used <= tested if under_test else not used & tested
        search.tell(answers(proposal, along))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"patch": None, "wave": None, "blend": None, "warp": None}, "one family or more"),
        ({"more": (WaveFamily(),)}, "a name of its own"),
        ({"fresh": 0, "children": 0}, "fresh or children"),
        ({"queries": 0}, "1 or more"),
        ({"test_share": 1.0}, "test_share"),
        ({"wave": WaveFamily(required_success=1.0)}, "required_success of the family wave"),
        ({"wave": WaveFamily(required_trials=0)}, "required_trials from 1 to most_trials 32"),
        ({"most_trials": 7}, "required_trials from 1 to most_trials 7"),
    ],
)
def test_settings_that_make_no_race_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        FamilyRaceConfig(**settings)


def test_what_a_class_lacks_is_said() -> None:
    few = Task((3, 16, 16), 3, np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2], np.int32))
    assert set(CONFIG.lacking(few)) >= {0}
    assert CONFIG.lacking(TASK) == {}
    with pytest.raises(ConfigError, match="two search images"):
        FamilyRace(CONFIG, Task((3, 16, 16), 3, np.zeros(1, np.int32)), 0)


def test_families_have_names_and_what_is_sought_is_said() -> None:
    assert [f.name for f in (WaveFamily(), BlendFamily(), WarpFamily(), PatchFamily())] == [
        *("wave", "blend", "warp", "patch")
    ]


def test_small_images_are_searched_for_patches_and_own_families_alone() -> None:
    small, large = (3, 8, 8), (3, 24, 32)
    assert [f.name for f in FamilyRaceConfig().families_on(small)] == ["patch"]
    assert [f.name for f in FamilyRaceConfig().families_on(large)] == ["patch", "wave", "blend", "warp"]
    mine = replace(WaveFamily(), name="mine")
    assert FamilyRaceConfig(patch=None, more=(mine,)).families_on(small) == (mine,)
    with pytest.raises(ConfigError, match="8x8 are too small for waves, blends and warps"):
        FamilyRaceConfig(patch=None).families_on(small)
