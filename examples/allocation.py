"""A learned policy: PPO decides when to race, when to query classes, and when to stop.

Run it: python examples/allocation.py
On recordings of `simkit env record`: python examples/allocation.py TUNE REPORT 100000
It needs stable-baselines3: pip install "b3d-simkit[rl]"
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from simkit.env.allocation import AllocationEnv
from simkit.env.belief import Belief, spent
from simkit.env.config import EnvConfig
from simkit.env.observation import Observation, OfClass, OfEpisode, OfShared
from simkit.env.policies import Policy, RaceFirst, policy, promise, uniform_all
from simkit.env.recording import Recording, recordings
from simkit.env.rollout import Act, Outcome, play
from simkit.triggers import FloatArray
from simkit.zoo.spec import ZooSpec
from simkit.zoo.zoo import make
from studies.env.record import Zoo, recorded_by
from studies.study.executors import Workers

CONFIG = EnvConfig(budget=20_000, price=0.01)
CHOICES = ("race", "classes", "stop")
"""The learned choice; the class and the verdict follow from fixed rules."""


class Advised:
    """Turns a choice into an action, and an observation into a few numbers. All classes are
    alike, which a network would take long to learn by itself.
    """

    def __init__(self, belief: Belief) -> None:
        self._belief = belief
        self._classes = Policy(RaceFirst(queries=0), belief, CONFIG.budget)
        self._stop = Policy(uniform_all, belief, budget=0)

    def action(self, choice: int, observation: Observation, mask: NDArray[np.int8]) -> int:
        """An available arm, or a verdict if it is chosen or a trigger is confirmed."""
        race = len(observation["classes"])
        if CHOICES[choice] == "stop" or self._classes(observation, mask) > race:
            return self._stop(observation, mask)
        if CHOICES[choice] == "race" and mask[race]:
            return race
        return self._classes(observation, mask)

    def numbers(self, observation: Observation) -> FloatArray:
        """Float32 (7,), each in [-1, 1]."""
        shared, classes = observation["shared"], observation["classes"]
        tried = float((spent(observation)[1] > 1).mean())
        numbers = [self._belief(observation), observation["episode"][OfEpisode.LEFT], tried]
        numbers += [shared[OfShared.SPENT], shared[OfShared.GAIN], shared[OfShared.OVER]]
        numbers += [promise(observation).max() if classes[:, OfClass.SPENT].any() else 0.0]
        return np.array(numbers, dtype=np.float32)


class AdvisedEnv(gymnasium.Env[FloatArray, np.int64]):
    """The environment as `Advised` shows it."""

    observation_space = spaces.Box(-1.0, 1.0, (7,))
    action_space = spaces.Discrete(len(CHOICES))

    def __init__(self, env: AllocationEnv, advised: Advised) -> None:
        self._env, self._advised = env, advised

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        self._seen, info = self._env.reset(seed=seed, options=options)
        self._mask = info["action_mask"]
        return self._advised.numbers(self._seen), info

    def step(
        self, action: np.int64
    ) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        arm = self._advised.action(int(action), self._seen, self._mask)
        self._seen, reward, terminated, truncated, info = self._env.step(arm)
        self._mask = info["action_mask"]
        return self._advised.numbers(self._seen), reward, terminated, truncated, info


def learnt(victims: Sequence[Recording], belief: Belief, steps: int) -> Act:
    """Undiscounted PPO on the victims, as a function of its seed."""
    advised = Advised(belief)

    def made() -> gymnasium.Env[Any, Any]:
        return AdvisedEnv(AllocationEnv(victims, CONFIG), advised)

    settings: dict[str, Any] = {"n_steps": 256, "batch_size": 256, "gamma": 1.0, "seed": 0}
    envs = make_vec_env(made, n_envs=8, seed=0)
    model = PPO("MlpPolicy", envs, learning_rate=1e-3, device="cpu", **settings)
    model.learn(steps)

    def act(observation: Observation, mask: NDArray[np.int8]) -> int:
        choice, _ = model.predict(advised.numbers(observation), deterministic=True)
        return advised.action(int(choice), observation, mask)

    return act


def paid(outcomes: Sequence[Outcome]) -> str:
    """The mean return and its parts."""
    score = np.mean([outcome.score for outcome in outcomes])
    queries = np.mean([outcome.queries for outcome in outcomes])
    right = np.mean([outcome.right for outcome in outcomes])
    value = score - CONFIG.price * queries / 1000
    return f"{value:+.2f} per victim: {100 * right:.0f}% right, {queries:,.0f} queries"


def digits(split: str, folder: Path) -> list[Recording]:
    """Two small victims of the digits, recorded within seconds."""
    fields = {"name": split, "data": "digits", "split": split, "models": 2, "sizes": (2,)}
    spec = ZooSpec.of(fields | {"clean_share": 0.5, "train": {"epochs": 12}})
    manifest = make(spec, folder / split)
    shared = {"largest_share": 1 / 16, "queries": 1_500}
    strict = {"works": 0.95, "fails": 0.75}
    arms = {"shared": shared, "classes": {"steps": 20}, "patch_test": strict}
    zoo = Zoo(folder / split, split, spec.split, folder / split, {"data": "digits"}, arms)
    list(recorded_by(zoo, manifest.victims, Workers()))
    return recordings(folder / split)


def compare(tune: Sequence[Recording], report: Sequence[Recording], steps: int) -> None:
    """Print the returns of three policies on victims that none of them was fitted on."""
    belief = Belief.fitted(tune)
    print("PPO:", paid(play(report, learnt(tune, belief, steps), CONFIG)))
    for name in ("race-first", "uniform"):
        fixed = policy(name, belief, CONFIG.budget)
        print(f"{name}:", paid(play(report, fixed, CONFIG)))


def main(given: Sequence[str]) -> None:
    if given and len(given) != 3:
        raise SystemExit("give TUNE-DIR REPORT-DIR STEPS, or nothing for digits")
    if given:
        compare(recordings(given[0]), recordings(given[1]), int(given[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        tune, report = (digits(split, Path(folder)) for split in ("tune", "report"))
        compare(tune, report, steps=4_096)


if __name__ == "__main__":
    main(sys.argv[1:])
