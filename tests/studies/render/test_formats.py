"""Numbers and stored words as text."""

from __future__ import annotations

import pytest

from simkit.search.presets import PRESETS
from simkit.verdict import RULES, Rule
from studies.render.formats import source_words

DEFAULTS = [*RULES.values(), *(stage.decision_rule() for preset in PRESETS.values() for stage in preset.stages)]


@pytest.mark.parametrize("rule", DEFAULTS, ids=lambda rule: f"{rule.name}-{rule.threshold:g}")
def test_the_source_of_a_default_threshold_is_said_without_the_history_of_the_project(rule: Rule) -> None:
    words = source_words(rule.source)
    assert not [word for word in ("prototype", "unofficial", "of the race") if word in words]


def test_other_sources_are_said_as_they_are() -> None:
    assert source_words("set for this run") == "set for this run"
