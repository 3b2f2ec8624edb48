"""How well the words at a budget order backdoored victims above clean ones, where some scans have not ended.

A score is known when its scan ends. **A scan without a word yet stands in the middle:** above every verdict `clean` and
below every verdict `backdoored`, level with all that are undecided. It accuses nobody and clears nobody, and whoever
has to rank victims at that budget puts it there. At the bottom, clean victims that are cleared early would lie above
backdoored ones still being searched, and a detector be called worse than guessing for being quick. Two scans that have
both ended are ordered by their scores, whatever their verdicts, so that where all have, this is the area of
`studies.table`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simkit.verdict import Kind
from studies.budget.standing import Word
from studies.table.statistics import Ranking, ranked, wins

_PLACES: dict[Kind, float] = {"backdoored": 1.0, "undecided": 0.0, "clean": -1.0, "invalid": -1.0}
"""Of an ended scan beside one that has not: the detector has nothing against a model that it calls invalid."""


def order(backdoored: Sequence[Word], clean: Sequence[Word], *, interval: bool = True) -> Ranking:
    """The area under the ROC curve of these words; see `studies.table.statistics.ranking` where all have ended."""
    every = (*backdoored, *clean)
    unscored = sum(word.score is None for word in every)
    silent = all(word.ended and word.score is None for word in every)
    if not backdoored or not clean or silent:
        return Ranking(None, None, None, unscored)
    won = wins([word.score for word in backdoored], [word.score for word in clean])
    ended = np.array([word.ended for word in backdoored])[:, None] & np.array([word.ended for word in clean])
    return ranked(np.where(ended, won, _by_place(backdoored, clean)), unscored, interval=interval)


def _by_place(backdoored: Sequence[Word], clean: Sequence[Word]) -> NDArray[np.float64]:
    """(B, C): wins by verdict alone, a scan that has not ended in the middle."""
    return wins([_PLACES[word.kind] for word in backdoored], [_PLACES[word.kind] for word in clean])
