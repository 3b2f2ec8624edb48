"""The manifest: there and back, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkit.attacks.patches import patch_trigger, random_patch
from simkit.errors import DataError
from simkit.zoo.manifest import MANIFEST, Manifest, Patch, Victim
from simkit.zoo.spec import ZooSpec

SHAPE = (3, 8, 9)


def _victim(index: int, patch: Patch | None) -> Victim:
    return Victim(
        index=index,
        seed=index,
        stratum="clean" if patch is None else "2x2",
        truth="clean" if patch is None else "backdoored",
        architecture="conv4",
        target_class=None if patch is None else 3,
        trigger=patch,
        clean_accuracy=0.75,
        success_rate=None if patch is None else 0.95,
        implanted=patch is not None,
        file=f"{index:04d}.safetensors",
        sha256="0" * 64,
        seconds=1.5,
        threads=2,
    )


def _manifest() -> Manifest:
    patch = Patch.of(patch_trigger(SHAPE, 5, 1, np.full((3, 2, 2), 1.0, np.float32)), "solid")
    zoo = ZooSpec(name="z", data="digits", split="tune", models=2)
    return Manifest(
        spec=zoo,
        classes=("a", "b"),
        image_shape=SHAPE,
        data_sha256="1" * 64,
        victims=(_victim(0, None), _victim(2, patch)),
        failed=(_victim(1, patch).model_copy(update={"implanted": False, "file": None, "sha256": None}),),
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


@given(st.integers(1, 8), st.integers(1, 9), st.sampled_from(["solid", "multi"]), st.integers(0, 2**32))
def test_a_patch_becomes_the_trigger_it_was(
    height: int, width: int, kind: Literal["solid", "multi"], seed: int
) -> None:
    trigger = random_patch(SHAPE, height, width, kind, np.random.default_rng(seed))
    again = Patch.model_validate_json(Patch.of(trigger, kind).model_dump_json()).trigger(SHAPE)
    assert np.array_equal(again.mask, trigger.mask)
    assert np.array_equal(again.pattern, trigger.pattern)


def test_the_attack_is_told_again() -> None:
    clean, backdoored = _manifest().victims
    assert clean.attack(SHAPE, 0.1) is None
    attack = backdoored.attack(SHAPE, 0.1)
    assert attack is not None
    assert (attack.target_class, attack.rate, attack.trigger.mask_size) == (3, 0.1, 4.0)


@pytest.mark.parametrize("colours", ["ff", "no hex", ""])
def test_colours_that_are_not_the_patch_are_refused(colours: str) -> None:
    patch = Patch(row=0, col=0, height=2, width=2, kind="solid", colours=colours)
    with pytest.raises(DataError, match="are not the hex"):
        patch.trigger(SHAPE)
