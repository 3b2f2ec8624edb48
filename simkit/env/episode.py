"""What the environment needs of a victim, live or recorded."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from simkit.env.arms import Arm, Bench, Pulled


class Chunks(NamedTuple):
    """Queries that one chunk may cost at most: of a class, of the shared search."""

    of_class: int
    shared: int


class Episode(Protocol):
    """One victim, from the first check on. backdoored: the truth, which only scores the verdict."""

    backdoored: bool
    name: str
    check_queries: int
    clean_accuracy: float
    chunks: Chunks

    def pull(self, arm: int) -> Pulled:
        """Spend the next chunk on a class, or on the shared search where `arm` is the number of classes."""
        ...


class Victim(Protocol):
    """What episodes begin from."""

    @property
    def n_classes(self) -> int: ...

    @property
    def backdoored(self) -> bool:
        """The truth."""
        ...

    def begin(self) -> Episode:
        """A fresh episode, the same every time."""
        ...


class LiveVictim:
    """A model that is asked as the episode goes; satisfies `Victim`. name: for whoever reads infos."""

    def __init__(self, name: str, bench: Bench, *, backdoored: bool) -> None:
        self._name, self._bench, self.backdoored = name, bench, backdoored

    @property
    def n_classes(self) -> int:
        """Of the model."""
        return self._bench.n_classes

    def begin(self) -> LiveEpisode:
        """Asks the first check. Raises DataError, Refused."""
        return LiveEpisode(self._name, self._bench, backdoored=self.backdoored)


class LiveEpisode:
    """An episode on a live model; satisfies `Episode`."""

    def __init__(self, name: str, bench: Bench, *, backdoored: bool) -> None:
        self._bench, self.name, self.backdoored = bench, name, backdoored
        self.check_queries, self.clean_accuracy = bench.check()
        self.chunks = Chunks(*bench.config.largest_chunks(len(bench.images.verify)))
        self._arms: dict[int, Arm] = {}

    def pull(self, arm: int) -> Pulled:
        """See `Episode.pull`."""
        if arm not in self._arms:
            self._arms[arm] = self._bench.arm(arm)
        return self._arms[arm].pull()
