"""Which settings of a search a count of its misses depends on."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from simkit.search.mosaic_race import MosaicRaceConfig
from simkit.search.race import RaceConfig
from studies.scan.measurement import in_effect

RACE = RaceConfig()


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (MosaicRaceConfig(), MosaicRaceConfig(whole_from=24), True),
        (MosaicRaceConfig(), MosaicRaceConfig(queries=2000), False),
        (RACE, replace(RACE, clean_value=0.1, clean_rounds=3), True),
        (replace(RACE, clean_from=900), replace(RACE, clean_from=900, clean_rounds=3), False),
        (RACE, replace(RACE, clean_from=900), False),
    ],
    ids=str,
)
def test_settings_that_change_no_answer_are_left_out(one: object, other: object, equal: bool) -> None:
    first, second = (in_effect(asdict(config)) for config in (one, other))  # type: ignore[call-overload]
    assert (first == second) is equal
