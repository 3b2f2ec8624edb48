"""Triggers of every family are the same after the ledger, and a stranger's are refused in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from db.errors import StorageError
from db.trigger_rows import pack_trigger, unpack_trigger
from simkit.seeding import stream
from simkit.transforms.blend import BlendFamily
from simkit.transforms.breeding import Family
from simkit.transforms.contract import Transform, same
from simkit.transforms.picture import PictureFamily
from simkit.transforms.warp import WarpFamily
from simkit.transforms.wave import WaveFamily, Waves
from simkit.triggers import Trigger
from simkit.verdict import ClassResult, Verdict
from studies.scan.stored_triggers import stored_class, stored_trigger, trigger_rows

SHAPE = (3, 8, 10)


def drawn(family: Family) -> Transform:
    breeder = family.breeder(SHAPE)
    return breeder.transform(breeder.fresh(stream(1, family.name)))


FAMILIES: tuple[Family, ...] = (WaveFamily(), BlendFamily(), PictureFamily(), WarpFamily())
TRIGGERS: dict[str, Transform] = {family.name: drawn(family) for family in FAMILIES}
TRIGGERS["patch"] = Trigger(np.full((1, 8, 10), 0.25, np.float32), np.full(SHAPE, 0.5, np.float32))


def result(trigger: Transform) -> ClassResult:
    return ClassResult(4, trigger, trigger.mask_size, 0.75, False, 8)


def verdict(trigger: Transform) -> Verdict:
    return Verdict("backdoored", "decided", (4,), 1.0, (result(trigger),), 1.0)


@pytest.mark.parametrize("family", TRIGGERS)
def test_the_trigger_of_a_class_is_the_same_after_the_ledger(family: str) -> None:
    trigger = TRIGGERS[family]
    (row,) = trigger_rows(verdict(trigger))
    assert (row.family, row.unit) == (family, trigger.unit)
    assert row.strength == pytest.approx(trigger.strength)
    assert (row.parameters is None, row.mask is not None) == (family == "patch",) * 2
    again = stored_class(unpack_trigger(pack_trigger(row)))
    assert same(again.trigger, trigger)
    assert vars(replace(again, trigger=trigger)) == vars(result(trigger))
    images = np.full((2, *SHAPE), 0.5, np.float32)
    assert np.array_equal(again.trigger.on(images), trigger.on(images))


def test_an_unknown_family_needs_its_reader() -> None:
    def read(fields: Mapping[str, Any]) -> Transform:
        return Waves.from_json(fields)

    (row,) = trigger_rows(verdict(TRIGGERS["wave"]))
    own = replace(row, family="ripple", parameters=json.dumps(TRIGGERS["wave"].to_json() | {"family": "ripple"}))
    with pytest.raises(StorageError, match="class 4: no family of triggers 'ripple'; known are patch, wave") as found:
        stored_trigger(own)
    assert "\n" not in str(found.value)
    assert same(stored_trigger(own, {"ripple": read}), TRIGGERS["wave"])


@pytest.mark.parametrize("parameters", ['{"family": "wave", "image_shape": [3, 8, 10]}', "[]", "{}"])
def test_parameters_that_are_none_of_the_family_are_refused_in_one_line(parameters: str) -> None:
    (row,) = trigger_rows(verdict(TRIGGERS["wave"]))
    with pytest.raises(StorageError, match="the trigger of class 4: ") as found:
        stored_trigger(replace(row, parameters=parameters))
    assert "\n" not in str(found.value)
