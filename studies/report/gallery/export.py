"""The numbers of the trigger gallery as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO

from studies.report.gallery.gather import ShownZoo

_COLUMNS = (
    *("zoo", "split", "stratum", "victim", "architecture", "attack", "target_class", "original_size"),
    *("detector", "verdict", "flagged", "queries", "reversed_size", "hits", "trials", "overlap"),
    *("original_trigger", "reversed_trigger"),
)


def gallery_csv(zoos: Sequence[ShownZoo]) -> str:
    """One row per shown backdoor and scan of it; `overlap` is the IoU, and an unknown value is left empty.

    Sizes are the pixels that a trigger changes, and the last two columns say in words what the triggers are.
    """
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for zoo in zoos:
        for stratum in zoo.strata:
            for victim in stratum.shown:
                place = zoo.name, zoo.split, stratum.name, victim.index, victim.architecture, victim.attack
                for backdoor in victim.backdoors:
                    original = None if backdoor.original is None else backdoor.original.mask_size
                    for shown in backdoor.found:
                        flagged = " ".join(map(str, shown.flagged))
                        outcome = shown.detector, shown.verdict, flagged, shown.queries
                        size = None if shown.trigger is None else shown.trigger.mask_size
                        counts = shown.success.hits, shown.success.trials, shown.overlap
                        triggers = (backdoor.original, shown.trigger)
                        words = (None if trigger is None else trigger.words for trigger in triggers)
                        writer.writerow((*place, backdoor.target_class, original, *outcome, size, *counts, *words))
    return stream.getvalue()
