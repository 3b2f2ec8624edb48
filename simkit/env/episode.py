"""The protocols of live and recorded victims for the environment."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from simkit.env.arms import Arm, Bench, Pulled


class Chunks(NamedTuple):
    """The most queries of one chunk, of a class arm and of the shared arm."""

    of_class: int
    shared: int


class Episode(Protocol):
    """One victim after its first check. backdoored: the truth, which is only used to score the verdict."""

    backdoored: bool
    name: str
    check_queries: int
    clean_accuracy: float
    chunks: Chunks

    def pull(self, arm: int) -> Pulled:
        """Spend the next chunk on class `arm`, or on the shared search if `arm` is the number of classes."""
        ...


class Victim(Protocol):
    """A victim from which episodes are started."""

    @property
    def n_classes(self) -> int: ...

    @property
    def backdoored(self) -> bool:
        """The truth."""
        ...

    def begin(self) -> Episode:
        """A new episode, the same every time."""
        ...


class LiveVictim:
    """A model that is queried during the episode; satisfies `Victim`. name: shown in infos."""

    def __init__(self, name: str, bench: Bench, *, backdoored: bool) -> None:
        self._name, self._bench, self.backdoored = name, bench, backdoored

    @property
    def n_classes(self) -> int:
        """The number of classes of the model."""
        return self._bench.n_classes

    def begin(self) -> LiveEpisode:
        """Do the first check and start an episode. Raises DataError, Refused."""
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
