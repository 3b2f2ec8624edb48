"""A policy that is learnt: PPO on recorded victims, against the classes in turn.

Run it: python examples/allocation.py
On recordings of `simkit env record`: python examples/allocation.py TUNE REPORT 100000
It needs stable-baselines3: pip install "b3d-simkit[rl]"
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from simkit.env import ENV_ID
from simkit.env.belief import Belief
from simkit.env.config import EnvConfig
from simkit.env.observation import Observation
from simkit.env.policies import policy
from simkit.env.recording import Recording, recordings
from simkit.env.rollout import Act, Outcome, play
from simkit.triggers import FloatArray
from simkit.zoo.spec import ZooSpec
from simkit.zoo.zoo import make
from studies.env_record import Zoo, recorded_by

CONFIG = EnvConfig(budget=20_000, price=0.01)


def learnt(victims: Sequence[Recording], steps: int) -> Act:
    """PPO, undiscounted. At first a verdict is made unlikely: who answers at once never
    sees what asking is worth.
    """

    def made() -> gymnasium.Env[Any, Any]:
        return gymnasium.make(ENV_ID, victims=victims, config=CONFIG)

    settings: dict[str, Any] = {"n_steps": 256, "batch_size": 256, "gamma": 1.0, "seed": 0}
    envs = make_vec_env(made, n_envs=8, seed=0)
    model = PPO("MultiInputPolicy", envs, ent_coef=0.003, device="cpu", **settings)
    actions = model.policy.action_net
    assert isinstance(actions, torch.nn.Linear)
    with torch.no_grad():
        actions.bias[-len(CONFIG.levels) :] -= 3.0
    model.learn(steps)

    def act(observation: Observation, mask: NDArray[np.int8]) -> int:
        """The likeliest of the actions that can be had."""
        seen, _ = model.policy.obs_to_tensor(cast(dict[str, FloatArray], observation))
        with torch.no_grad():
            told = model.policy.get_distribution(seen).log_prob(torch.arange(len(mask)))
        return int(np.where(mask, told.numpy(), -np.inf).argmax())

    return act


def paid(outcomes: Sequence[Outcome]) -> str:
    """The mean return, and what it is made of."""
    score = np.mean([outcome.score for outcome in outcomes])
    queries = np.mean([outcome.queries for outcome in outcomes])
    right = np.mean([outcome.right for outcome in outcomes])
    value = score - CONFIG.price * queries / 1000
    return f"{value:+.2f} a victim: {100 * right:.0f}% right, {queries:,.0f} queries"


def digits(split: str, folder: Path) -> list[Recording]:
    """Two small victims of the digits, recorded: seconds."""
    told = {"name": split, "data": "digits", "split": split, "models": 2, "sizes": (2,)}
    spec = ZooSpec.of(told | {"clean_share": 0.5, "train": {"epochs": 12}})
    manifest = make(spec, folder / split)
    shared = {"largest_share": 1 / 16, "queries": 1_500}
    strict = {"works": 0.95, "fails": 0.75}
    arms = {"shared": shared, "classes": {"steps": 20}, "patch_test": strict}
    zoo = Zoo(folder / split, split, spec.split, folder / split, {"data": "digits"}, arms)
    list(recorded_by(zoo, manifest.victims, workers=1, threads=1))
    return recordings(folder / split)


def compare(tune: Sequence[Recording], report: Sequence[Recording], steps: int) -> None:
    """Print what three policies earn on victims that none of them has learnt from."""
    belief = Belief.fitted(tune)
    print("PPO:", paid(play(report, learnt(tune, steps), CONFIG)))
    for name in ("race-first", "uniform"):
        told = policy(name, belief, CONFIG.budget)
        print(f"{name}:", paid(play(report, told, CONFIG)))


def main(given: Sequence[str]) -> None:
    if given:
        compare(recordings(given[0]), recordings(given[1]), int(given[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        tune, report = (digits(split, Path(folder)) for split in ("tune", "report"))
        compare(tune, report, steps=4_000)


if __name__ == "__main__":
    main(sys.argv[1:])
