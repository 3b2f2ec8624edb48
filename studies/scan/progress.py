"""What a scan under way says of itself: its stage by name, and the most queries at which that stage's turn ends."""

from __future__ import annotations

from dataclasses import replace

from simkit.search.contract import Search
from simkit.search.costs import check_price, full_length
from simkit.search.driver import Checkpoint
from simkit.search.relay import Relay
from studies.scan.prepare import Prepared


class StageProgress:
    """Words and numbers for `OnProgress` from the checkpoints of one scan, each in the order of the scan."""

    def __init__(self, prepared: Prepared, relay: Relay) -> None:
        self._prepared, self._relay = prepared, relay
        self._preset, self._names = prepared.preset, prepared.stage_names
        self._part: tuple[int, bool] = (0, False)
        self._began = 0

    def told(self, checkpoint: Checkpoint) -> tuple[int, int | None, str]:
        """Queries so far, those at the end of the current stage's turn at most (None if unknown), and a note."""
        part = self._relay.stage, self._relay.refining
        if part != self._part:
            self._part, self._began = part, checkpoint.queries
        mask = _smallest(self._relay.search)
        return checkpoint.queries, self._end(checkpoint.queries), f"{self._name()}, round {checkpoint.rounds}, {mask}"

    def _name(self) -> str:
        stage, refining = self._part
        if refining:
            return "refining the trigger"
        several = f" (stage {stage + 1} of {len(self._names)})" if len(self._names) > 1 else ""
        return f"{self._names[stage]}{several}"

    def _end(self, queries: int) -> int | None:
        """The queries at which this turn ends at most; a detection ends it earlier, confirmations a little later."""
        budget, length = self._prepared.config.budget, self._length()
        if not self._relay.refining:
            length = min((end for end in (length, self._relay.until) if end is not None), default=None)
            self._began = queries - self._relay.spent
        if length is None:
            return budget
        end = max(queries, self._began + length)
        return end if budget is None else min(end, budget)

    def _length(self) -> int | None:
        number, refining = self._part
        stage = self._preset.stages[number]
        if refining:
            return None if stage.refine is None else stage.refine.queries + 2 * stage.refine.verify_images
        length = full_length(replace(stage, then=None), self._prepared.model.oracle.n_classes)
        first = 0 if number else check_price(self._prepared.images, stage.driver)
        return None if length is None else length + first


def _smallest(search: Search) -> str:
    """The size of the smallest working mask, in words."""
    smallest = min((c.mask_size for c in search.results() if not c.censored), default=None)
    return "smallest mask none yet" if smallest is None else f"smallest mask {smallest:.0f} px"
