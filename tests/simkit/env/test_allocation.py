"""The environment: gymnasium's own checks, what an episode costs and pays, and that it repeats itself."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from simkit.env import ENV_ID
from simkit.env.allocation import AllocationEnv
from simkit.env.arms import Field
from simkit.env.config import LEVELS, EnvConfig
from simkit.env.episode import LiveVictim
from simkit.env.observation import OfClass, OfShared
from simkit.env.recording import SUFFIX
from simkit.errors import ConfigError
from tests.simkit.env.planted import CLASSES, ENV, TARGET, Books, recorded

SHARED = CLASSES
SURE = CLASSES + len(LEVELS)
"""The action that states the highest level."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings of a clean and a backdoored victim."""
    for name, target in (("clean", None), ("planted", TARGET)):
        recorded(target).save(tmp_path / f"{name}{SUFFIX}")
    return tmp_path


@pytest.fixture
def env() -> AllocationEnv:
    return AllocationEnv([recorded(None), recorded()], ENV)


def same(single: Any, other: Any) -> bool:
    """Whether two observations or infos say the same."""
    if isinstance(single, dict):
        return bool(single.keys() == other.keys() and all(same(single[name], other[name]) for name in single))
    return bool(np.array_equal(single, other))


def walk(env: Any, seed: int) -> list[Any]:
    """Two episodes, the second from the generator as the first left it, of actions that can be had."""
    rng, observed = np.random.default_rng(seed), []
    for number in range(2):
        observation, info = env.reset(seed=seed) if number == 0 else env.reset()
        observed.append((observation, 0.0, False, False, info))
        while not (observed[-1][2] or observed[-1][3]):
            observed.append(env.step(int(rng.choice(np.flatnonzero(observed[-1][4]["action_mask"])))))
    return observed


def test_gymnasium_has_nothing_against_it(folder: Path) -> None:
    made = gymnasium.make(ENV_ID, victims=str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(made.unwrapped)


@pytest.mark.process
def test_many_at_once_in_one_process_and_in_several(folder: Path) -> None:
    observed = []
    for mode in ("sync", "async"):
        envs = gymnasium.make_vec(ENV_ID, num_envs=2, vectorization_mode=mode, victims=str(folder))
        try:
            assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
            observations, _ = envs.reset(seed=3)
            rewards = [envs.step(np.array(actions))[1] for actions in ([0, SHARED], [SURE, 1], [0, 2])]
            observed.append((observations, rewards))
        finally:
            envs.close()
    assert same(observed[0][0], observed[1][0])
    assert np.array_equal(observed[0][1], observed[1][1])


def test_two_episodes_repeat_themselves_from_a_seed(env: AllocationEnv) -> None:
    first, again, other = walk(env, 5), walk(env, 5), walk(env, 6)
    assert len(first) == len(again)
    assert all(same(dict(enumerate(a)), dict(enumerate(b))) for a, b in zip(first, again, strict=True))
    assert [step[4] for step in first] != [step[4] for step in other] or len(first) != len(other)


@pytest.mark.process
def test_another_process_sees_the_same(folder: Path) -> None:
    code = (
        "import sys; from simkit.env.allocation import AllocationEnv; env = AllocationEnv(sys.argv[1]);"
        "print([(env.reset(seed=s)[1]['victim'], env.reset()[1]['victim'], env.step(4)[1]) for s in range(6)])"
    )
    run = [sys.executable, "-c", code, str(folder)]
    env = AllocationEnv(folder)
    here = [(env.reset(seed=s)[1]["victim"], env.reset()[1]["victim"], env.step(SHARED)[1]) for s in range(6)]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == str(here)
    assert {victim for victims in here for victim in victims[:2]} == {0, 1}


def test_live_arms_and_their_recording_are_one_environment() -> None:
    live = AllocationEnv([LiveVictim("planted-2", Books().bench, backdoored=True)], ENV)
    replayed = AllocationEnv([recorded()], ENV)
    for single, other in zip(walk(live, 1), walk(replayed, 1), strict=True):
        assert same(dict(enumerate(single)), dict(enumerate(other)))


def test_an_episode_costs_what_was_asked_and_pays_the_score(env: AllocationEnv) -> None:
    _, info = env.reset(options={"victim": 1})
    first, kept, total = info["queries"], recorded(), 0.0
    assert first == kept.header.check_queries
    _, reward, *_, info = env.step(SHARED)
    asked = kept.arms[SHARED][0, Field.QUERIES]
    assert info["queries"] == first + asked
    assert reward == pytest.approx(-ENV.cost(first + asked))
    total += reward
    _, reward, *_, info = env.step(1)
    total += reward
    _, reward, terminated, truncated, info = env.step(SURE)
    total += reward
    assert (terminated, truncated) == (True, False)
    assert (info["stated"], info["backdoored"]) == (LEVELS[-1], True)
    assert info["score"] == ENV.score(LEVELS[-1], True)
    assert total == pytest.approx(info["score"] - ENV.cost(info["queries"]))
    with pytest.raises(ConfigError, match="reset"):
        env.step(0)


def test_nothing_in_an_observation_or_an_info_tells_the_truth_before_the_verdict() -> None:
    truthful, liar = recorded(), recorded()
    header = liar.header.model_copy(update={"truth": "clean", "target_classes": (), "stratum": "clean"})
    envs = [AllocationEnv([victim], ENV) for victim in (truthful, type(liar)(header, liar.arms, liar.gains))]
    observed = [[env.reset(seed=0), *(env.step(action) for action in (0, SHARED, TARGET))] for env in envs]
    assert all(same(dict(enumerate(a)), dict(enumerate(b))) for a, b in zip(*observed, strict=True))


def test_an_arm_that_is_over_cannot_be_had_and_asking_for_it_is_the_end(env: AllocationEnv) -> None:
    _, info = env.reset(options={"victim": 1})
    while info["action_mask"][TARGET]:
        observation, *_, info = env.step(TARGET)
    assert observation["classes"][TARGET, [OfClass.FOUND, OfClass.OVER]].tolist() == [1, 1]
    _, reward, terminated, truncated, info = env.step(TARGET)
    assert (terminated, truncated, info["score"], info["stated"]) == (False, True, 0.0, 0.5)
    assert reward == 0.0


def test_no_chunk_is_begun_that_might_overrun_the_budget() -> None:
    env = AllocationEnv([recorded(None)], EnvConfig(budget=1_000))
    _, info = env.reset()
    while info["action_mask"][: CLASSES + 1].any():
        _, _, terminated, truncated, info = env.step(int(info["action_mask"].argmax()))
        assert (terminated, truncated) == (False, False)
    assert info["queries"] <= 1_000
    assert env.step(SHARED)[3] is True


def test_what_was_found_is_seen(env: AllocationEnv) -> None:
    _, info = env.reset(options={"victim": 1})
    while info["action_mask"][SHARED]:
        observation, *_, info = env.step(SHARED)
    assert observation["shared"][OfShared.FOUND] == 1
    assert observation["classes"][:, OfClass.NAMED].tolist() == [c == TARGET for c in range(CLASSES)]
    assert observation["classes"][:, OfClass.GAIN].argmax() == TARGET


@pytest.mark.parametrize("options", [{"victim": 2}, {"victim": -1}])
def test_a_victim_that_is_not_there_is_refused(env: AllocationEnv, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="there are 2"):
        env.reset(options=options)


def test_an_action_that_is_not_there_a_budget_too_small_and_no_victims_are_refused(env: AllocationEnv) -> None:
    env.reset()
    with pytest.raises(ConfigError, match="there are 10"):
        env.step(10)
    with pytest.raises(ConfigError, match="does not cover"):
        AllocationEnv([recorded()], EnvConfig(budget=3)).reset()
    with pytest.raises(ConfigError, match="one or more"):
        AllocationEnv([])


@pytest.mark.parametrize(("prior", "share"), [(None, 0.25), (0.5, 0.5), (0.9, 0.9)])
def test_victims_are_drawn_by_the_prior(prior: float | None, share: float) -> None:
    env = AllocationEnv([recorded(), *[recorded(None)] * 3], EnvConfig(prior=prior))
    drawn = [env.reset(seed=seed)[1]["victim"] for seed in range(400)]
    assert np.mean([victim == 0 for victim in drawn]) == pytest.approx(share, abs=0.08)
    assert set(drawn) == {0, 1, 2, 3}
