"""The manifest: there and back, and what is refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from oracles import outside
from simkit.attacks.attack import Attack
from simkit.attacks.badnets import BadNets
from simkit.attacks.patches import patch_trigger
from simkit.attacks.registry import attack_to_json, target_classes
from simkit.attacks.several import Several
from simkit.attacks.warping import Warping
from simkit.errors import DataError
from simkit.zoo.manifest import MANIFEST, Manifest, Victim, checked_weights, weights_path
from simkit.zoo.spec import ZooSpec
from tests.patches import patch as as_patch

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
    assert (clean.attacked(), clean.trigger((3, 8, 8)), clean.attack_kind) == (None, None, None)
    attack, trigger = backdoored.attacked(), backdoored.trigger((3, 8, 8))
    assert isinstance(attack, BadNets)
    assert (attack.target_class, attack.rate, backdoored.attack_kind) == (3, 0.2, "badnets")
    assert trigger is not None
    assert np.array_equal(as_patch(trigger).pattern, attack.trigger.pattern)
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


def _of_file(file: str, data: bytes = b"weights") -> Victim:
    return _victim(0, None).model_copy(update={"file": file, "sha256": hashlib.sha256(data).hexdigest()})


@pytest.mark.parametrize("place", ["0000.safetensors", "sub/a.safetensors", "./a", "link"])
def test_weights_in_the_folder_of_the_zoo_are_read_once(tmp_path: Path, place: str) -> None:
    zoo = tmp_path / "zoo"
    (zoo / "sub").mkdir(parents=True)
    if place == "link":
        (zoo / "link").symlink_to("real")
    (zoo / place).write_bytes(b"weights")
    file = checked_weights(zoo, _of_file(place))
    assert (file.path, file.data) == (zoo / place, b"weights")
    with pytest.raises(DataError, match="other weights than those in the manifest"):
        checked_weights(zoo, _of_file(place, b"others"))


@pytest.mark.parametrize("place", ["../outside", "{}/outside", "link", "folder/outside", "sub/../../outside", "a\0b"])
def test_a_manifest_leads_to_no_file_outside_the_folder_of_its_zoo(tmp_path: Path, place: str) -> None:
    zoo, place = tmp_path / "zoo", place.format(tmp_path)
    (zoo / "sub").mkdir(parents=True)
    (tmp_path / "outside").write_bytes(b"weights")
    (zoo / "link").symlink_to(tmp_path / "outside")
    (zoo / "folder").symlink_to("..")
    for reading in (weights_path, checked_weights):
        with pytest.raises(DataError, match=r"manifest\.json: the file of victim 0, .*is not in the zoo's folder"):
            reading(zoo, _of_file(place))


def test_a_zoo_behind_a_link_is_a_zoo(tmp_path: Path) -> None:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "a").write_bytes(b"weights")
    (tmp_path / "there").symlink_to("zoo")
    assert checked_weights(tmp_path / "there", _of_file("a")).data == b"weights"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", [MANIFEST, "0000.safetensors"])
def test_a_fifo_in_place_of_a_file_of_a_zoo_is_refused_at_once(tmp_path: Path, name: str) -> None:
    _manifest().save(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="It is a FIFO"):
        checked_weights(tmp_path, Manifest.load(tmp_path).victims[0])


def test_a_manifest_over_the_cap_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / MANIFEST).open("wb") as file:
        file.truncate(outside.MANIFEST_BYTES + 1)
    with pytest.raises(DataError, match="at most 268,435,456 are read"):
        Manifest.load(tmp_path)


def test_a_manifest_of_deep_json_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(b"[" * 10**6)
    with pytest.raises(DataError, match="not a manifest"):
        Manifest.load(tmp_path)
