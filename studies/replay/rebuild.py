"""Rebuilds a stored run, with the pixels of every query, from its settings, its seed and its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from db.records import StoredCall
from db.stored import StoredRun
from oracles.answers import decode
from oracles.errors import NotStored, ReplayMismatch
from oracles.replay import ReplayOracle
from simkit.data import ImageSet
from simkit.errors import ConfigError, DataError
from simkit.progress import OnProgress
from simkit.search.evaluator import Evaluator, as_tensor
from simkit.search.images import ScanImages
from simkit.search.relay import Relay
from simkit.verdict import Rule, Verdict
from studies.ledgers.run_settings import OwnCode, stored_config
from studies.scan.config import ScanConfig
from studies.scan.images import choose_images

Watch = Callable[[Any, StoredCall], None]
"""Told the images (N, C, H, W), in the form they were sent in, and the stored call of one batch, before its answers are
told to the search."""


@dataclass(frozen=True)
class ReplayInputs:
    """What a ledger does not hold of a run: its images and the user's own code.

    data: as in a scan, None for the data that the ledger names. images: used instead of data. own: see `OwnCode`.
    """

    data: str | None = None
    images: ImageSet | None = None
    own: OwnCode = field(default_factory=OwnCode)


NOTHING = ReplayInputs()
"""Only the ledger: the data that it names, and no user code."""


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """How far a run could be rebuilt: number of queries, the verdict if reached, and why it broke off, in one line."""

    queries: int
    verdict: Verdict | None
    broken: str | None


@dataclass(frozen=True, eq=False)
class Replay:
    """A stored run with everything needed to rebuild it; queries no model and writes nothing."""

    run: StoredRun
    config: ScanConfig
    images: ScanImages

    @classmethod
    def read(cls, path: Path, run: int | None = None, given: ReplayInputs = NOTHING) -> Replay:
        """The run with this id, or the only one, with its images.

        Raises StorageError, ConfigError for settings unknown to this version of simkit, and DataError where the images
        are not those of the run.
        """
        stored = StoredRun.read(path, run)
        config = stored_config(stored.info, given.own)
        images = _images(stored, config, given)
        if images.sha256 != stored.info.data_hash:
            raise DataError(
                f"{path}: run {stored.id} used other images than these of {images.search.name!r}; give the run's data"
            )
        return cls(stored, config, images)

    @property
    def n_classes(self) -> int:
        """The number of classes of the service, as in its first answer."""
        first = next(self.run.calls(), None)
        return self.images.search.n_classes if first is None else decode(first.codec, first.answers).n_classes

    def relay(self, rule: Rule | None, limit: int | None) -> Relay:
        """Fresh searches, driven like those of the run. rule: replaces its own, unless None. limit: query budget.

        Raises ConfigError for another rule and a run of several stages.
        """
        course, n_classes = self.config.course(self.images.search.image_shape), self.n_classes
        if rule is not None and len(course.stages) > 1:
            raise ConfigError(f"a run of {self.config.preset_name} has one rule per stage, which cannot be replaced")
        course = replace(course, limit=limit, rule=course.rule if rule is None else rule)
        return Relay(course, self.images, lambda: n_classes)

    def calls(self) -> Iterator[StoredCall]:
        """The scan's own calls in order, without external calls, whose pixels are unknown."""
        external = {step.id for step in self.run.steps.values() if step.purpose == "external"} | {None}
        return (call for call in self.run.calls() if call.step not in external)

    def rebuild(
        self,
        watch: Watch | None = None,
        progress: OnProgress | None = None,
        send: Callable[..., Any] = as_tensor,
    ) -> Rebuilt:
        """Rebuild the run as far as possible. send: converts the images to the form that `watch` takes.

        Raises StorageError for a damaged call, and as `watch` does.
        """
        shape = self.images.search.image_shape
        oracle = ReplayOracle(self.calls(), self.n_classes, shape, self.run.refused, watch)
        verdict = broken = None
        try:
            relay = self.relay(None, self.config.budget)
            for checkpoint in relay.run(Evaluator(oracle, _StoredSteps(self.run), send)):
                verdict = checkpoint.verdict
                if progress is not None:
                    progress(checkpoint.queries, self.run.queries)
        except NotStored as error:
            broken = str(error) if self.run.state == "done" else None  # an open run ends where it was interrupted
        except ReplayMismatch as error:
            broken = str(error)
        return Rebuilt(oracle.replayed, verdict, broken)


class _StoredSteps:
    """The ids of a run's steps; raises where a step is opened with another state than the stored one."""

    def __init__(self, run: StoredRun) -> None:
        self._run = run

    def open_step(self, number: int, purpose: str, state: str) -> int:
        """See `Steps.open_step`; a step that the run did not reach gets a negative id."""
        step = self._run.steps.get(number)
        if step is None:
            return -1 - number
        if (step.purpose, step.state) != (purpose, state):
            raise ReplayMismatch(
                f"step {number} has a state that does not follow from the stored answers: they were changed, or the "
                "run was made with other code, libraries or processor"
            )
        return step.id


def _images(stored: StoredRun, config: ScanConfig, given: ReplayInputs) -> ScanImages:
    named = "" if given.images is not None else config.data if given.data is None else given.data
    try:
        return choose_images(config.model_copy(update={"data": named}), given.images)
    except DataError as error:
        if given.data is not None or given.images is not None:
            raise
        raise DataError(f"{stored.path}: the images of run {stored.id} cannot be read ({error}); give data") from error
