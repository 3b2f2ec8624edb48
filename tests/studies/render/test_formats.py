"""Numbers and stored words as text."""

from __future__ import annotations

import pytest

from simkit.search.presets import PRESETS
from simkit.verdict import RULES, Rule
from studies.render.formats import ranking_words, source_words
from studies.statistics import Ranking

DEFAULTS = [*RULES.values(), *(stage.decision_rule() for preset in PRESETS.values() for stage in preset.stages)]


@pytest.mark.parametrize("rule", DEFAULTS, ids=lambda rule: f"{rule.name}-{rule.threshold:g}")
def test_the_source_of_a_default_threshold_is_said_without_the_history_of_the_project(rule: Rule) -> None:
    words = source_words(rule.source)
    assert not [word for word in ("prototype", "unofficial", "of the race") if word in words]


def test_other_sources_are_said_as_they_are() -> None:
    assert source_words("set for this run") == "set for this run"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Ranking(0.97, 0.92, 0.99, 0, (30, 10)), "0.97 (0.92-0.99)"),
        (Ranking(0.999, 0.996, 1.0, 0, (300, 100)), "0.999 (0.996-1.000)"),
        (Ranking(0.9999, 0.9996, 0.99998, 0, (3000, 1000)), "0.9999 (0.9996-1.0000)"),
        (Ranking(1.0, None, None, 0, (6, 6)), "1.00 (n = 6 + 6)"),
        (Ranking(None, None, None, 0), "-"),
    ],
)
def test_an_auroc_never_hides_the_width_of_its_interval(value: Ranking, words: str) -> None:
    assert ranking_words(value) == words
