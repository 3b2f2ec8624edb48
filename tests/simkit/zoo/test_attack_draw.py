"""Attacks drawn for victims: all kinds, what varies with the seed, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from simkit.attacks.registry import ATTACKS, attack_to_json, target_classes
from simkit.attacks.several import Several
from simkit.attacks.source_specific import SourceSpecific
from simkit.data import ImageShape
from simkit.errors import ConfigError
from simkit.zoo.attack_draw import AttackDraw, TriggerDraw

SHAPE: ImageShape = (3, 16, 16)
PATCH = {"shape": "patch", "size": [2, 3]}
DRAWS: dict[str, dict[str, Any]] = {
    "badnets": {"trigger": PATCH},
    "blended": {"kind": "blended", "trigger": {"shape": "image", "kinds": ["multi"]}, "settings": {"alpha": 0.1}},
    "sinusoidal": {"kind": "sinusoidal", "settings": {"clean_label": False}},
    "warping": {"kind": "warping", "settings": {"strength": 2.0}},
    "label-consistent": {"kind": "label-consistent", "trigger": {"shape": "corners", "size": [2, 2]}},
    "source-specific": {"kind": "source-specific", "trigger": PATCH},
    "gratings": {"kind": "gratings", "ranges": {"angle": [0.0, 180.0]}},
    "elastic": {"kind": "elastic", "ranges": {"angle": [10.0, 20.0]}},
    "input-aware": {"kind": "input-aware", "settings": {"width": 4}},
    "several": {"kind": "several", "parts": 3, "trigger": PATCH, "settings": {"rate": 0.05}},
}


def test_every_attack_can_be_drawn() -> None:
    assert set(DRAWS) == set(ATTACKS)


@pytest.mark.parametrize("kind", DRAWS)
def test_it_is_of_its_kind_and_target_and_repeats(kind: str) -> None:
    draw = AttackDraw.model_validate(DRAWS[kind])
    attack = draw.draw(SHAPE, 5, 3, seed=7)
    observed = attack_to_json(attack)
    assert observed["kind"] == kind
    assert 3 in target_classes(attack)
    assert attack_to_json(draw.draw(SHAPE, 5, 3, seed=7)) == observed
    if draw.trigger is not None:
        assert attack_to_json(draw.draw(SHAPE, 5, 3, seed=8)) != observed


@pytest.mark.parametrize(
    ("shape", "size", "pixels"),
    [("patch", (2, 3), 6), ("aslant", (4,), 4), ("scattered", (5,), 5), ("corners", (2, 3), 24), ("image", (), 256)],
)
@pytest.mark.parametrize("kind", ["solid", "multi"])
def test_triggers_have_their_shape_and_colours(shape: Any, size: tuple[int, ...], pixels: int, kind: Any) -> None:
    trigger = TriggerDraw(shape=shape, size=size, kinds=(kind,)).draw(SHAPE, seed=1)
    assert trigger.mask_size == pixels
    colours = np.unique(trigger.pattern[:, trigger.mask[0] > 0], axis=1).shape[1]
    assert (colours == 1) == (kind == "solid")


def test_a_picture_is_an_image_of_its_data_as_large_as_the_victims_images() -> None:
    draw = TriggerDraw(shape="picture", data="digits")
    first, second = (draw.draw(SHAPE, seed) for seed in (1, 2))
    assert first.mask_size == 256
    assert (first.pattern == first.pattern[:1]).all()  # the digits are grey
    assert first.pattern[0, :, 0].max() < 0.5 < first.pattern.max()  # and the border of a digit is dark
    assert not np.array_equal(first.pattern, second.pattern)
    assert np.array_equal(draw.draw(SHAPE, 1).pattern, first.pattern)


def test_several_have_targets_and_triggers_of_their_own() -> None:
    attack = AttackDraw.model_validate(DRAWS["several"]).draw(SHAPE, 5, 3, seed=7)
    assert isinstance(attack, Several)
    assert len(target_classes(attack)) == 3
    assert len({str(attack_to_json(part)["trigger"]) for part in attack.attacks}) == 3


def test_sources_are_drawn_unless_they_are_given() -> None:
    draw = AttackDraw.model_validate(DRAWS["source-specific"])
    drawn = [draw.draw(SHAPE, 5, 3, seed) for seed in range(20)]
    assert {a.sources for a in drawn if isinstance(a, SourceSpecific)} == {(0,), (1,), (2,), (4,)}
    given = draw.model_copy(update={"settings": {"sources": [0, 1]}}).draw(SHAPE, 5, 3, 0)
    assert isinstance(given, SourceSpecific)
    assert given.sources == (0, 1)


def test_settings_are_drawn_from_their_ranges() -> None:
    ranges = {"amplitude": [0.05, 0.15], "frequency": [5.0, 7.0]}
    waves = AttackDraw.model_validate({"kind": "sinusoidal", "ranges": ranges})
    fields = AttackDraw.model_validate({"kind": "warping", "ranges": {"field_seed": [3, 5]}})
    drawn = [attack_to_json(waves.draw(SHAPE, 5, 3, seed)) for seed in range(40)]
    assert all(0.05 <= wave["amplitude"] <= 0.15 and 5.0 <= wave["frequency"] <= 7.0 for wave in drawn)
    assert len({wave["frequency"] for wave in drawn}) == 40
    assert {attack_to_json(fields.draw(SHAPE, 5, 3, seed))["field_seed"] for seed in range(40)} == {3, 4, 5}
    assert attack_to_json(waves.draw(SHAPE, 5, 3, 0)) == drawn[0]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kind": "poison"}, "no attack 'poison'"),
        ({"kind": "badnets"}, "badnets needs a trigger"),
        ({"kind": "warping", "trigger": PATCH}, "warping has no trigger"),
        ({"kind": "several", "trigger": PATCH}, "several needs parts"),
        ({"trigger": PATCH, "parts": 2}, "badnets has no parts"),
        ({"trigger": PATCH, "settings": {"target_class": 1}}, "must not have 'target_class'"),
        ({"trigger": PATCH, "settings": {"rate": 0.1}, "ranges": {"rate": [0.1, 0.2]}}, "in settings and in ranges"),
        ({"trigger": PATCH, "ranges": {"rate": [0.2, 0.1]}}, "the lower one first"),
        ({"trigger": PATCH, "ranges": {"rate": [0.2, float("inf")]}}, "two finite numbers"),
        ({"trigger": PATCH, "ranges": {"rate": [0.2, float("nan")]}}, "two finite numbers"),
        ({"trigger": PATCH, "ranges": {"target_class": [0, 1]}}, "must not have 'target_class'"),
        ({"trigger": {"shape": "patch", "size": [2]}}, "shape patch needs 2 sizes, not 1"),
        ({"trigger": {"shape": "image", "size": [2]}}, "needs 0 sizes"),
        ({"trigger": {"shape": "picture"}}, "shape picture needs data"),
        ({"trigger": PATCH | {"data": "digits"}}, "shape patch has no data"),
        ({"trigger": {"shape": "star", "size": [2]}}, "shape"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        AttackDraw.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"trigger": {"shape": "patch", "size": [17, 2]}}, "17x2 patch does not fit"),
        ({"kind": "warping", "settings": {"strenght": 1}}, "strenght"),
        ({"kind": "several", "parts": 6, "trigger": PATCH}, "6 backdoors need as many classes"),
    ],
)
def test_what_cannot_be_on_these_images_is_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        AttackDraw.model_validate(fields).draw(SHAPE, 5, 3, seed=0)
