"""Evaluates policies on recorded victims, with one episode per victim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simkit.env.allocation import AllocationEnv
from simkit.env.config import EnvConfig
from simkit.env.episode import Victim
from simkit.env.observation import Observation

Act = Callable[[Observation, NDArray[np.int8]], int]
"""From an observation and its action mask to an action, see `simkit.env.policies.Policy`."""


@dataclass(frozen=True)
class Outcome:
    """One episode. queries: including the first check. stated: the stated probability. score: without the price."""

    queries: int
    stated: float
    score: float
    backdoored: bool

    @property
    def right(self) -> bool:
        """Whether the stated probability is on the side of the truth; one half counts as wrong."""
        return self.stated != 0.5 and (self.stated > 0.5) == self.backdoored


def play(victims: Sequence[Victim], policy: Act, config: EnvConfig) -> list[Outcome]:
    """One episode on each victim, in order."""
    env = AllocationEnv(victims, config)
    return [_episode(env, number, policy) for number in range(len(victims))]


def _episode(env: AllocationEnv, number: int, policy: Act) -> Outcome:
    observation, info = env.reset(options={"victim": number})
    ended = False
    while not ended:
        observation, _, terminated, truncated, info = env.step(policy(observation, info["action_mask"]))
        ended = terminated or truncated
    return Outcome(info["queries"], info["stated"], info["score"], info["backdoored"])
