"""How well the words at a budget order backdoored victims above clean ones, where some scans have not ended.

A score is known when its scan ends. **A scan without a word yet stands in the middle:** above every verdict `clean` and
below every verdict `backdoored`, level with all that are undecided. It accuses nobody and clears nobody, and whoever
has to rank victims at that budget puts it there. At the bottom, clean victims that are cleared early would lie above
backdoored ones still being searched, and a detector be called worse than guessing for being quick. Two scans that have
both ended are ordered as in `studies.table`: by their scores, whatever their verdicts, or where they went in stages by
verdict first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from studies.budget.standing import Word
from studies.table.statistics import PLACES, Ranking, ranked, verdicts_first, wins


def order(backdoored: Sequence[Word], clean: Sequence[Word], *, interval: bool = True) -> Ranking:
    """The area under the ROC curve of these words; see `studies.table.statistics.ranking` where all have ended."""
    every = (*backdoored, *clean)
    unscored = sum(word.score is None for word in every)
    silent = all(word.ended and word.score is None for word in every)
    if not backdoored or not clean or silent:
        return Ranking(None, None, None, unscored)
    scores = [word.score for word in every]
    if any(word.staged for word in every):
        scores = verdicts_first([(word.kind, word.score) for word in every])
    won = wins(scores[: len(backdoored)], scores[len(backdoored) :])
    ended = np.array([word.ended for word in backdoored])[:, None] & np.array([word.ended for word in clean])
    return ranked(np.where(ended, won, _by_place(backdoored, clean)), unscored, interval=interval)


def _by_place(backdoored: Sequence[Word], clean: Sequence[Word]) -> NDArray[np.float64]:
    """(B, C): wins by verdict alone, a scan that has not ended in the middle."""
    return wins([PLACES[word.kind] for word in backdoored], [PLACES[word.kind] for word in clean])
