"""Every method has a name of its own on a zoo, as short as that allows."""

from __future__ import annotations

from typing import Any

import pytest

from oracles.spec import OracleSpec
from simkit.detectors.registry import DETECTORS
from studies.results.table.methods import methods
from studies.study.detectors import method
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


def stored(detector: str, oracle: dict[str, Any] | None = None, **given: Any) -> ResultLine:
    """A line with the config that a scan with these settings stores."""
    chosen = method(detector)
    spec = OracleSpec(**(oracle or {}))
    settings = given if chosen.white_box else {"oracle": spec, "budget": 500} | given
    return line(0, detector=detector, config=chosen.identity(chosen.config(settings)))


def shown(*told: ResultLine) -> list[dict[str, str]]:
    return [dict(one.changed) for one in methods(told, {}).values()]


@pytest.mark.parametrize("detector", [name for name, entry in DETECTORS.items() if entry.preset])
def test_what_was_set_is_listed_for_every_preset_also_where_no_other_method_stands_beside_it(detector: str) -> None:
    assert shown(stored(detector)) == shown(stored(detector, {"label_only": True})) == [{}]
    tuned = stored(detector, chunk=7, search_images=64, driver={"check_images": 16})
    assert shown(tuned) == [{"chunk": "7", "driver.check_images": "16", "search_images": "64"}]


def test_the_settings_of_a_tuned_search_are_listed() -> None:
    tuned = stored("b3d", search={"samples": 12, "sigma": 0.5, "sparsity": {"weight": 0.004}}, seed=3)
    expected = {"search.samples": "12", "search.sigma": "0.5", "search.sparsity.weight": "0.004", "seed": "3"}
    assert shown(tuned) == [expected]
    ours, theirs = shown(stored("b3d"), tuned)
    assert theirs == expected
    assert ours.keys() == expected.keys()


def test_what_a_preset_chooses_for_a_kind_of_answer_is_not_listed() -> None:
    assert shown(stored("b3d"), stored("b3d", {"label_only": True}), stored("b3d", {"top_k": 3})) == [{}, {}, {}]


def test_a_former_name_of_a_preset_has_the_defaults_of_the_current_one() -> None:
    tuned = stored("b3d", search={"samples": 12})
    assert shown(line(0, detector="efficient", config=tuned.config | {"preset": "efficient"})) == [
        {"search.samples": "12"}
    ]


@pytest.mark.parametrize("detector", [name for name, entry in DETECTORS.items() if not entry.preset])
def test_a_field_of_another_detector_is_listed_where_it_is_not_the_default(detector: str) -> None:
    own = stored(detector)
    assert shown(own) == [{}]
    fields = dict(own.config["detector"])
    name = next(name for name, value in fields.items() if isinstance(value, int | float))
    other = line(0, detector=detector, config=own.config | {"detector": fields | {name: 12345}})
    assert shown(other) == [{f"detector.{name}": "12345"}]


def test_a_users_own_preset_is_compared_with_the_class_of_its_search() -> None:
    own = stored("b3d-slides").config | {"preset": "their.module:PRESET"}
    classes = methods([line(0, detector="their.module:PRESET", config=own)], {}).values()
    (told,) = (dict(one.changed) for one in classes)
    assert all(name.startswith(("search.", "driver.")) for name in told)
    (more,) = shown(line(0, detector="their.module:PRESET", config=own | {"search": own["search"] | {"sigma": 0.123}}))
    assert more == told | {"search.sigma": "0.123"}


def test_settings_in_a_list_of_stages_have_names_of_their_own() -> None:
    first = stored("auto").config
    stages = [*first["stages"][:-1], first["stages"][-1] | {"least_queries": 77}]
    assert shown(line(0, detector="auto", config=first | {"stages": stages})) == [
        {f"stages.{len(stages)}.least_queries": "77"}
    ]


def test_a_setting_that_its_detector_has_no_more_is_listed() -> None:
    former = stored("race").config
    search = former["search"] | {"lookahead": 3}
    assert shown(line(0, detector="race", config=former | {"search": search, "own": None})) == [
        {"search.lookahead": "3"}
    ]


@pytest.mark.parametrize(
    ("seed", "listed"),
    [("0, by victim", None), ("4, by victim", "4"), (4, "4"), ("x, by victim", '"x, by victim"'), (0, None)],
)
def test_a_seed_by_victim_is_listed_only_where_it_is_not_0(seed: object, listed: str | None) -> None:
    (told,) = shown(line(0, detector="b3d", config=stored("b3d").config | {"seed": seed}))
    assert told.get("seed") == listed
