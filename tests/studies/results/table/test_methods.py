"""Every method has a name of its own on a zoo, as short as that allows."""

from __future__ import annotations

from typing import Any

import pytest

from studies.results.table.methods import methods
from studies.study.result_line import ResultLine
from tests.studies.results.table.made import config, line

LABEL = {"oracle": {"label_only": True}}


def labels(*told: ResultLine, **titles: str) -> list[str]:
    return [method.label for method in methods(told, titles).values()]


def with_config(**changes: Any) -> ResultLine:
    zoo = changes.pop("zoo", "small")
    return line(0, zoo=zoo, config=config(**changes))


def test_a_method_is_called_as_little_as_tells_it_apart() -> None:
    assert labels(line(0), line(1)) == ["probe"]
    assert labels(line(0), line(0, config=config() | LABEL)) == ["probe", "probe, label"]
    told = labels(with_config(budget=1000), with_config(budget=2000), line(0, detector="nc"))
    assert told == ["probe, 1,000 queries", "probe, 2,000 queries", "nc"]


def test_other_settings_of_one_budget_are_told_by_their_hash() -> None:
    first, second = with_config(steps=100), with_config(steps=200)
    assert labels(first, second) == [f"probe, 300,000 queries, #{one.config_hash[:8]}" for one in (first, second)]
    changed = [method.changed for method in methods([first, second], {}).values()]
    assert changed == [(("search.steps", "100"),), (("search.steps", "200"),)]


def test_what_differs_between_zoos_alone_needs_no_name() -> None:
    assert labels(with_config(budget=1000), with_config(budget=2000, zoo="large")) == ["probe", "probe"]


def test_titles_give_names_and_order() -> None:
    told = labels(line(0, detector="own"), line(0), line(0, detector="nc"), nc="Neural Cleanse", probe="B3D")
    assert told == ["Neural Cleanse", "B3D", "own"]


@pytest.mark.parametrize("told", [{"white_box": True}, {"forward_passes": 5, "backward_passes": 5}])
def test_a_white_box_asks_nothing(told: dict[str, Any]) -> None:
    (white,) = methods([line(0, **told)], {}).values()
    assert (white.service, white.budget) == ("", None)
    two = [line(0, forward_passes=5, backward_passes=5, config=config(steps=n)) for n in (1, 2)]
    assert labels(*two) == [f"probe, #{one.config_hash[:8]}" for one in two]
