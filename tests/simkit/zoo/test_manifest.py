"""The manifest: there and back, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simkit.attacks.attack import Attack
from simkit.attacks.badnets import BadNets
from simkit.attacks.patches import patch_trigger
from simkit.attacks.registry import attack_to_json, target_classes
from simkit.attacks.several import Several
from simkit.attacks.warping import Warping
from simkit.errors import DataError
from simkit.zoo.manifest import MANIFEST, Manifest, Victim
from simkit.zoo.spec import ZooSpec

SHAPE = (3, 8, 9)


PATCH = BadNets(patch_trigger(SHAPE, 5, 1, np.full((3, 2, 2), 1.0, np.float32)), 3, 0.2)
ATTACKS: dict[str, Attack] = {"warping": Warping(1), "several": Several((PATCH, Warping(0)))}


def _victim(index: int, patch: BadNets | None) -> Victim:
    return Victim(
        index=index,
        seed=index,
        stratum="clean" if patch is None else "2x2",
        truth="clean" if patch is None else "backdoored",
        architecture="conv4",
        target_classes=() if patch is None else (3,),
        attack=None if patch is None else attack_to_json(patch),
        clean_accuracy=0.75,
        success_rate=None if patch is None else 0.95,
        implanted=patch is not None,
        file=f"{index:04d}.safetensors",
        sha256="0" * 64,
        seconds=1.5,
        threads=2,
    )


def _manifest() -> Manifest:
    zoo = ZooSpec(name="z", data="digits", split="tune", models=2)
    return Manifest(
        spec=zoo,
        classes=("a", "b"),
        image_shape=SHAPE,
        data_sha256="1" * 64,
        victims=(_victim(0, None), _victim(2, PATCH)),
        failed=(_victim(1, PATCH).model_copy(update={"implanted": False, "file": None, "sha256": None}),),
    )


def test_it_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    manifest = _manifest()
    manifest.save(tmp_path)
    assert Manifest.load(tmp_path) == manifest
    assert Manifest.load(tmp_path).victim(2) == manifest.victims[1]
    assert manifest.complete
    assert [p.name for p in tmp_path.iterdir()] == [MANIFEST]


@pytest.mark.parametrize("index", [1, 5])
def test_a_failed_or_unknown_victim_is_refused(index: int) -> None:
    with pytest.raises(DataError, match=f"no victim {index}"):
        _manifest().victim(index)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b"\xff\xfe"])
def test_what_is_no_manifest_is_refused_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(DataError, match=r"manifest\.json: ") as caught:
        Manifest.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_attack_is_told_again() -> None:
    clean, backdoored = _manifest().victims
    assert (clean.attacked(), clean.trigger(), clean.attack_kind) == (None, None, None)
    attack, trigger = backdoored.attacked(), backdoored.trigger()
    assert isinstance(attack, BadNets)
    assert (attack.target_class, attack.rate, backdoored.attack_kind) == (3, 0.2, "badnets")
    assert trigger is not None
    assert np.array_equal(trigger.pattern, attack.trigger.pattern)
    assert trigger.mask_size == 4.0


@pytest.mark.parametrize("attack", list(ATTACKS.values()), ids=list(ATTACKS))
def test_it_holds_any_attack(attack: Attack, tmp_path: Path) -> None:
    observed = attack_to_json(attack)
    victim = _victim(0, None).model_copy(update={"attack": observed, "target_classes": target_classes(attack)})
    _manifest().model_copy(update={"victims": (victim,)}).save(tmp_path)
    actual = Manifest.load(tmp_path).victims[0].attacked()
    assert actual is not None
    assert attack_to_json(actual) == observed


def test_an_attack_that_cannot_be_read_is_told_with_its_victim() -> None:
    victim = _victim(4, None).model_copy(update={"attack": {"kind": "unheard-of"}})
    with pytest.raises(DataError, match="victim 4 of the manifest: no attack 'unheard-of'"):
        victim.attacked()
