"""Words of the console's pages."""

from __future__ import annotations

import pytest

from oracles.spec import OracleSpec
from oracles.watch.settings import WatchSpec
from studies.service.console.pages import width_words
from studies.service.console.views import restrictions


def test_restrictions_are_what_is_set_and_a_detector_stands_in_brackets() -> None:
    assert restrictions(OracleSpec()) == "none"
    assert restrictions(OracleSpec(top_k=3, decimals=2)) == "top_k = 3, decimals = 2"
    watched = OracleSpec(label_only=True, watch=WatchSpec(detector="blacklight", action="ban"))
    assert restrictions(watched) == "label_only = True, watch = (detector: blacklight, action: ban)"


@pytest.mark.parametrize(
    ("seconds", "words"), [(60, "1 minute"), (900, "15 minutes"), (3600, "1 hour"), (7 * 86400, "7 days")]
)
def test_the_width_of_a_bar_is_told_in_its_largest_unit(seconds: int, words: str) -> None:
    assert width_words(seconds) == words
