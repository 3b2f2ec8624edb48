"""Attacks as plain values: names, defaults, errors, and the truth that they tell."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from simkit.attacks.badnets import BadNets
from simkit.attacks.blended import Blended
from simkit.attacks.elastic import Elastic
from simkit.attacks.gratings import Gratings
from simkit.attacks.input_aware import InputAware
from simkit.attacks.label_consistent import LabelConsistent
from simkit.attacks.registry import ATTACKS, attack_from_json, attack_to_json, original_trigger, target_classes
from simkit.attacks.several import Several
from simkit.attacks.sinusoidal import Sinusoidal
from simkit.attacks.source_specific import SourceSpecific
from simkit.attacks.warping import Warping
from simkit.data import ImageSet, ImageShape
from simkit.errors import ConfigError
from simkit.triggers import Trigger
from tests.patches import patch
from tests.simkit.attacks.sets import SHAPE, white_corner

EVERY: dict[str, Any] = {
    "badnets": BadNets(white_corner(), 1),
    "blended": Blended(white_corner(), 1, alpha=0.5),
    "sinusoidal": Sinusoidal(1),
    "warping": Warping(1),
    "label-consistent": LabelConsistent(white_corner(), 1),
    "source-specific": SourceSpecific(white_corner(), (0, 2), 1),
    "gratings": Gratings(1, period=5.3, angle=35.0, phase=20.0, crossed=70.0, shifted=120.0),
    "elastic": Elastic(1, sigma=2.0, strength=1.5, angle=12.0),
    "input-aware": InputAware(1, width=2, generator="AAA="),
    "several": Several((Sinusoidal(3), Warping(0))),
}
PATCH = {"image_shape": [3, 6, 7], "row": 4, "col": 5, "height": 2, "width": 2, "colours": "ffffff"}


def test_every_attack_is_tried_here() -> None:
    assert list(EVERY) == list(ATTACKS)


@pytest.mark.parametrize("kind", EVERY)
def test_every_attack_goes_through_json_text(kind: str) -> None:
    fields = attack_to_json(EVERY[kind])
    assert fields["kind"] == kind
    again = attack_from_json(json.loads(json.dumps(fields)))
    assert type(again) is ATTACKS[kind]
    assert attack_to_json(again) == fields


def test_the_form_is_what_it_is_said_to_be() -> None:
    assert attack_to_json(EVERY["blended"]) == {
        "kind": "blended",
        "trigger": PATCH,
        "target_class": 1,
        "rate": 0.1,
        "alpha": 0.5,
    }
    assert attack_to_json(EVERY["source-specific"])["sources"] == [0, 2]


def test_what_is_left_out_has_its_default() -> None:
    assert attack_from_json({"kind": "warping", "target_class": 3, "strength": 1}) == Warping(3, strength=1.0)


def test_a_trigger_may_be_given_as_it_is() -> None:
    attack = attack_from_json({"kind": "badnets", "trigger": white_corner(), "target_class": 1})
    assert isinstance(attack, BadNets)
    assert attack.trigger.mask_size == 4.0


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ("badnets", "an attack is an object with a kind, not str"),
        ({}, "no attack None; choose a kind from badnets, blended"),
        ({"kind": "wanet"}, "no attack 'wanet'; choose a kind from badnets"),
        ({"kind": ["badnets"]}, "no attack"),
        ({"kind": "warping"}, "attack warping: target_class: Field required"),
        (
            {"kind": "warping", "target_class": 1, "stength": 2},
            r"no setting 'stength'; did you mean 'strength'\?",
        ),
        ({"kind": "warping", "target_class": -1}, "attack warping: .*need a class id"),
        ({"kind": "blended", "trigger": PATCH, "target_class": 1, "alpha": 2}, "alpha 2.0 is outside"),
        ({"kind": "badnets", "trigger": PATCH | {"row": 5}, "target_class": 1}, "leaves the 6x7 image"),
        ({"kind": "badnets", "trigger": {"row": 5}, "target_class": 1}, "trigger: .*Field required"),
        ({"kind": "several"}, "several: needs a list"),
        ({"kind": "several", "attacks": [{"kind": "wanet"}]}, "no attack 'wanet'"),
        ({"kind": "several", "attacks": []}, "two or more"),
        ({"kind": "several", "attacks": [], "rate": 1}, "nothing else"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(fields: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        attack_from_json(fields)
    assert "\n" not in str(caught.value)


def test_the_classes_that_ought_to_be_flagged() -> None:
    assert target_classes(EVERY["badnets"]) == (1,)
    assert target_classes(Several((EVERY["several"], EVERY["badnets"], Sinusoidal(0)))) == (0, 1, 3)


def test_the_trigger_that_ought_to_be_found() -> None:
    for kind in ("badnets", "label-consistent", "source-specific"):
        assert original_trigger(EVERY[kind], SHAPE) is EVERY[kind].trigger
    assert original_trigger(EVERY["several"], SHAPE) is None
    assert original_trigger(EVERY["input-aware"], SHAPE) is None
    faint = original_trigger(EVERY["blended"], SHAPE)
    assert faint is not None
    assert np.array_equal(patch(faint).mask, 0.5 * white_corner().mask)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("sinusoidal", (3, 12, 16)), ("warping", (3, 12, 16)), ("gratings", (3, 12, 16)), ("elastic", (3, 16, 16))],
)
def test_the_trigger_without_a_mask_does_what_the_attack_does(kind: str, shape: ImageShape) -> None:
    pixels = np.random.default_rng(0).random((4, *shape), dtype=np.float32)
    trigger = original_trigger(EVERY[kind], shape)
    assert trigger is not None
    assert trigger.as_patch is None
    np.testing.assert_allclose(trigger.on(pixels), EVERY[kind].stamp_all(torch.from_numpy(pixels)).numpy(), atol=1e-5)


class _Foreign:
    def poison(self, images: ImageSet, seed: int) -> ImageSet:
        return images

    def triggered(self, images: ImageSet) -> ImageSet:
        return images


def test_an_attack_of_somebody_else_has_no_name_and_no_known_trigger() -> None:
    with pytest.raises(ConfigError, match="_Foreign is not one of the attacks"):
        attack_to_json(_Foreign())
    with pytest.raises(ConfigError, match="_Foreign"):
        target_classes(_Foreign())
    assert original_trigger(_Foreign(), SHAPE) is None


def test_a_trigger_that_plain_values_cannot_hold_is_refused() -> None:
    soft = Trigger(np.full((1, *SHAPE[1:]), 0.5, np.float32), np.ones(SHAPE, np.float32))
    with pytest.raises(ConfigError, match="mask is 0 or 1"):
        attack_to_json(BadNets(soft, 0))
