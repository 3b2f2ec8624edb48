"""The query allocation environment: an episode is a victim; an action spends a chunk of queries or gives a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from simkit.env.arms import Field
from simkit.env.config import EnvConfig
from simkit.env.episode import Episode, Victim
from simkit.env.observation import Observation, Sight, space
from simkit.env.recording import recordings
from simkit.errors import ConfigError

Mask = NDArray[np.int8]


class AllocationEnv(gymnasium.Env[Observation, np.int64]):
    """Spend queries on single classes of a victim or on a shared search of all, and decide whether it is backdoored.

    victims: a folder of recordings (see `simkit env record`), or live or recorded victims with the same number of
    classes T. Actions: 0..T-1 spend the next chunk on that class, T spends it on the shared search, and later actions
    end the episode with the verdict `config.levels[action - T - 1]`, the stated probability of a backdoor.
    Observations: see `simkit.env.observation`. The info has `action_mask` int8 (actions,), 1 for available actions,
    `queries` spent, and after a verdict `stated`, `score` and `backdoored`.

    Reward: minus the price of the chunk's queries; a verdict adds its score, see `EnvConfig`. The first check is done
    on reset and charged to the first step. An arm is unavailable if it has ended or if its next chunk might exceed the
    budget; choosing it truncates the episode, and the stated probability is then one half. A reset draws a victim with
    the environment's own generator; options {"victim": 3} choose one. Raises ConfigError, DataError.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (gymnasium declares it so)

    def __init__(self, victims: str | Path | Sequence[Victim], config: EnvConfig | None = None) -> None:
        self._victims = recordings(victims) if isinstance(victims, str | Path) else list(victims)
        if not self._victims:
            raise ConfigError("an environment without victims; give one or more")
        self._config = config or EnvConfig()
        self._truth = np.array([victim.backdoored for victim in self._victims])
        self._n_classes = self._victims[0].n_classes
        self._actions = self._n_classes + 1 + len(self._config.levels)
        self.observation_space = space(self._n_classes)
        self.action_space = spaces.Discrete(self._actions)
        self._episode: Episode | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """See `gymnasium.Env.reset`. Raises ConfigError for an unknown victim or a budget that is too small."""
        super().reset(seed=seed)
        drawn = self._draw()
        number = drawn if options is None else options.get("victim", drawn)
        if not 0 <= number < len(self._victims):
            raise ConfigError(f"no victim {number}; there are {len(self._victims)}, counted from 0")
        self._episode = self._victims[number].begin()
        self._spent, self._charged = self._episode.check_queries, 0
        if self._spent > self._config.budget:
            raise ConfigError(f"a budget of {self._config.budget} does not cover the first {self._spent} queries")
        self._arms = np.zeros(self._n_classes + 1, dtype=np.int64)
        self._over = np.zeros(self._n_classes + 1, dtype=np.bool_)
        self._sight = Sight(self._n_classes, self._config.budget, self._episode.clean_accuracy)
        return self._sight.now(self._left), self._info() | {"victim": number}

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """See `gymnasium.Env.step`. Raises ConfigError after the end of an episode, or for an unknown action."""
        if self._episode is None:
            raise ConfigError("the episode is over; reset first")
        chosen = int(action)
        if not 0 <= chosen < self._actions:
            raise ConfigError(f"no action {chosen}; there are {self._actions}")
        if chosen > self._n_classes:
            return self._ended(self._config.levels[chosen - self._n_classes - 1], truncated=False)
        if not self._can_pull()[chosen]:
            return self._ended(0.5, truncated=True)
        pulled = self._episode.pull(chosen)
        self._spent += int(pulled.row[Field.QUERIES]) - int(self._arms[chosen])
        self._arms[chosen], self._over[chosen] = int(pulled.row[Field.QUERIES]), bool(pulled.row[Field.OVER])
        self._sight.update(chosen, pulled)
        return self._sight.now(self._left), -self._charge(), False, False, self._info()

    def _draw(self) -> int:
        """Draw a victim; if there are clean and backdoored ones, the kind is drawn first."""
        among, prior = np.arange(len(self._truth)), self._config.prior
        if prior is not None and self._truth.any() and not self._truth.all():
            among = np.flatnonzero(self._truth == (self.np_random.random() < prior))
        return int(self.np_random.choice(among))

    @property
    def _left(self) -> int:
        return self._config.budget - self._spent

    def _can_pull(self) -> NDArray[np.bool_]:
        """The arms that have not ended and whose next chunk certainly fits the budget."""
        assert self._episode is not None
        chunks = self._episode.chunks
        can = ~self._over
        can[: self._n_classes] &= chunks.of_class <= self._left
        can[self._n_classes] &= chunks.shared <= self._left
        return can

    def _charge(self) -> float:
        """The price of the queries since the last charge."""
        cost, self._charged = self._config.cost(self._spent - self._charged), self._spent
        return cost

    def _info(self) -> dict[str, Any]:
        mask = np.ones(self._actions, dtype=np.int8)
        mask[: self._n_classes + 1] = self._can_pull()
        return {"action_mask": mask, "queries": self._spent}

    def _ended(self, stated: float, *, truncated: bool) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        assert self._episode is not None
        backdoored = self._episode.backdoored
        score = self._config.score(stated, backdoored)
        info = self._info() | {"stated": stated, "score": score, "backdoored": backdoored}
        self._episode = None
        return self._sight.now(self._left), score - self._charge(), not truncated, truncated, info
