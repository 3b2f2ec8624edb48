"""Named detectors: what they may reach, by their types, and which settings concern them."""

from __future__ import annotations

from typing import Any

import pytest

from simkit.detectors.access import QueryAccess, QueryDataAccess, WeightAccess
from simkit.errors import ConfigError
from simkit.search.presets import PRESETS
from studies.study.detectors import access_of, method, methods
from tests.studies.own_code import CORNER
from tests.studies.study.detectors import ASKS, HERE, LOOKS, Imagines, Untyped


def test_access_is_what_the_signature_says() -> None:
    assert access_of(ASKS) is QueryDataAccess
    assert access_of(Imagines()) is QueryAccess
    assert access_of(LOOKS) is WeightAccess
    with pytest.raises(ConfigError, match=r"Untyped\.detect does not state its access"):
        access_of(Untyped())


def test_every_preset_and_every_white_box_has_a_name() -> None:
    known = methods()
    assert PRESETS.keys() < known.keys()
    white = {name for name, method in known.items() if method.white_box}
    scheduled = {f"{kind}-{schedule}" for kind in ("neural-cleanse", "tabor") for schedule in ("quick", "reference")}
    clustering = {f"activation-clustering-{thresholds}" for thresholds in ("reference", "tuned")}
    assert white == scheduled | clustering | {"neural-cleanse-data-free"}
    assert len({method.title for method in known.values()}) == len(known)
    assert all(method.name == name for name, method in known.items())


def test_a_white_box_is_the_same_whatever_may_be_asked() -> None:
    given = {"data": "digits", "budget": 10, "oracle": "label", "seed": 3}
    chosen = method("neural-cleanse-quick")
    same = chosen.config({"data": "elsewhere", "budget": 20, "seed": 3})
    assert chosen.identity(chosen.config(given)) == chosen.identity(same)
    assert chosen.identity(same) != chosen.identity(chosen.config({"data": "digits", "seed": 4}))
    schedules = [method(f"neural-cleanse-{name}") for name in ("quick", "reference")]
    assert schedules[0].identity(same) != schedules[1].identity(same)


def test_budget_and_service_are_part_of_a_black_box() -> None:
    chosen = method("random-patch")
    told = [chosen.identity(chosen.config({"data": "digits"} | more)) for more in ({"budget": 1}, {"oracle": "label"})]
    assert told[0] != told[1]
    assert told[0]["preset"] == "random-patch"
    assert chosen.config({"data": "digits", "search": {"rounds": 3}}).search == {"rounds": 3}


def test_what_makes_its_images_takes_no_data_and_others_no_shape() -> None:
    given = {"data": "digits", "image_size": 8, "image_shape": (1, 8, 8), "budget": 10}
    made, searched, white = (method(name) for name in ("b3d-ss", "b3d", "neural-cleanse-quick"))
    assert made.access is QueryAccess
    assert (made.config(given).data, made.config(given).image_shape) == ("", (1, 8, 8))
    for other in (searched, white):
        assert (other.config(given).data, other.config(given).image_shape) == ("digits", None)


def test_a_detector_of_ones_own() -> None:
    own = method(f"{HERE}:ASKS")
    assert (own.name, own.detector, own.preset) == (f"{HERE}:ASKS", ASKS, None)
    assert own.identity(own.config({"data": "digits"}))["detector"]["kind"] == f"{HERE}.AsksOnce"
    preset = method("tests.studies.own_code:CORNER")
    assert preset.config({"data": "digits"}).resolved() == CORNER


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("neural-clense-quick", r"no detector 'neural-clense-quick'; did you mean 'neural-cleanse-quick'\?"),
        ("no-such", "no detector 'no-such'; choose from neural-cleanse-"),
        (f"{HERE}:NO_SUCH", "NO_SUCH"),
        (f"{HERE}:CLEAN", "no method detect"),
    ],
)
def test_what_is_none_is_told(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        method(name)


@pytest.mark.parametrize("setting", [{"search": {"rounds": 3}}, {"rule": {"threshold": 3}}, {"preset": "b3d-slides"}])
def test_settings_of_a_search_are_none_of_a_detectors(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"has no setting {min(setting)}"):
        method(f"{HERE}:ASKS").config({"data": "digits"} | setting)
