"""What is refused, warned of and drawn before a scan asks anything."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simkit.data import ImageSet
from simkit.errors import ConfigError, DataError
from simkit.zoo.networks import build_network
from studies.scan import scan
from studies.scan.config import ScanConfig
from studies.scan.prepare import prepare
from studies.scan.small_images import small_patches
from tests.studies.scans import IMAGES, SETTINGS, TemplateNet, scanned


def test_some_labels_or_one_class_are_refused_before_a_query() -> None:
    labels = IMAGES.labels.copy()
    labels[::2] = -1
    with pytest.raises(DataError, match="56 of 112 images have no label"):
        scan(TemplateNet(), images=ImageSet(IMAGES.pixels, labels, IMAGES.classes, "some"), **SETTINGS)
    with pytest.raises(DataError, match="every search image is of class 1"):
        scan(TemplateNet(), images=IMAGES.with_labels(np.ones_like(labels), 4), **SETTINGS)


def test_the_images_are_disjoint_and_drawn_by_the_seed() -> None:
    def drawn(seed: int) -> tuple[bytes, set[bytes], set[bytes]]:
        config = ScanConfig.of(SETTINGS | {"seed": seed})
        images = prepare(TemplateNet(), config, IMAGES).images
        rows = [{image.numpy().tobytes() for image in part.pixels} for part in (images.search, images.verify)]
        return images.search.pixels.numpy().tobytes(), rows[0], rows[1]

    first, searched, verified = drawn(0)
    assert (len(searched), len(verified)) == (64, 48)
    assert not searched & verified
    assert drawn(0)[0] == first != drawn(1)[0]


def test_the_images_are_copied_once() -> None:
    chosen = prepare(TemplateNet(), ScanConfig.of(SETTINGS), IMAGES).images
    assert chosen.search.array.base is chosen.verify.array.base is not None
    assert not np.shares_memory(chosen.search.array, IMAGES.array)


def test_too_few_images_and_no_images() -> None:
    with pytest.raises(DataError, match=r"112 images.* is 200; use --set search_images=85 --set verify_images=26"):
        scanned(TemplateNet(), search_images=152)
    with pytest.raises(DataError, match=r"and with fewer no class can be flagged: that needs .*; give more"):
        scan(TemplateNet(), images=IMAGES.take(np.arange(12)), **SETTINGS)
    with pytest.raises(DataError, match=r"1 images.*; give two images or more"):
        scan(TemplateNet(), images=IMAGES.take(np.arange(1)), **SETTINGS)
    with pytest.raises(ConfigError, match="data"):
        scan(TemplateNet(), budget=10)


def test_images_and_data_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="either images or data"):
        scanned(TemplateNet(), data="digits")


@pytest.mark.parametrize(("preset", "warned"), [("race", True), ("race-wide", False), ("auto", False)])
def test_a_race_for_single_pixels_is_warned_of_where_nothing_follows_it(preset: str, warned: bool) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        prepare(build_network("conv4", (1, 8, 8), 10, 0), ScanConfig.of({"data": "digits", "preset": preset}))
    assert any("patches of 1 pixels at most" in str(w.message) for w in told) is warned


@pytest.mark.parametrize(
    ("size", "settings", "words"),
    [
        (8, {}, "on images of 8x8 auto searches for patches of up to 2 pixels only"),
        (12, {}, "on images of 12x12 auto searches for patches of up to 5 pixels only"),
        (16, {}, ""),  # 3x3
        (16, {"preset": "race"}, "on images of 16x16 race searches for patches of up to 4 pixels only"),
        (8, {"preset": "race-mosaics"}, "race-mosaics searches for patches of up to 1 pixel only"),
        (17, {"preset": "race-mosaics"}, ""),
        (8, {"preset": "b3d"}, ""),
        (8, {"preset": "random-patch", "search": {"largest_side": 2}}, ""),  # as it was told
        (24, {"preset": "race-warps"}, ""),  # searches for no patches
    ],
)
def test_images_so_small_that_only_tiny_patches_are_searched_are_told_first(
    size: int, settings: dict[str, Any], words: str
) -> None:
    told = small_patches(ScanConfig.of({"data": "digits"} | settings), (1, size, size))
    assert (words in told) if words else not told


def test_tiny_patches_are_warned_of_once() -> None:
    def told(preset: str) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            prepare(build_network("conv4", (1, 8, 8), 10, 0), ScanConfig.of({"data": "digits", "preset": preset}))
        return [str(w.message) for w in caught if "patches of" in str(w.message)]

    assert [message.split(",")[0] for message in told("auto")] == [
        "on images of 8x8 auto searches for patches of up to 2 pixels only"
    ]
    assert len(told("race")) == 1


@pytest.mark.parametrize("preset", ["random-patch", "annealing"])
@pytest.mark.parametrize(("side", "warned"), [(4, True), (3, False)])
def test_patches_that_are_large_for_the_image_are_warned_of(side: int, warned: bool, preset: str) -> None:
    settings = {"data": "digits", "preset": preset, "search": {"largest_side": side}}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        prepare(build_network("conv4", (1, 8, 8), 10, 0), ScanConfig.of(settings))
    assert any("largest_side" in str(w.message) for w in told) is warned


@pytest.mark.parametrize("there", range(20, 112, 7))
@pytest.mark.parametrize("preset", ["random-patch", "race", "auto", "b3d"])
def test_what_a_message_advises_is_a_scan_that_can_flag(there: int, preset: str) -> None:
    images = IMAGES.take(np.arange(there))
    with pytest.raises(DataError) as refused:
        prepare(TemplateNet(), ScanConfig.of({"preset": preset}), images)
    advised = re.search(r"use --set search_images=(\d+) --set verify_images=(\d+)", str(refused.value))
    if advised is None:
        assert "give more images" in str(refused.value)
        return
    config = ScanConfig.of({"preset": preset, "search_images": int(advised[1]), "verify_images": int(advised[2])})
    prepared = prepare(TemplateNet(), config, images)
    course, chosen = prepared.course, prepared.images
    assert not any(course.lacking(stage, chosen, 4) for stage in range(len(course.stages)))


def test_too_few_images_for_any_class_leave_no_ledger(tmp_path: Path) -> None:
    net, db = TemplateNet(2), tmp_path / "scan.db"
    with pytest.raises(ConfigError, match="no class can be flagged: that needs 8 search_images"):
        scanned(net, search_images=6, search={}, driver={}, budget=500, db=db)
    assert (net.seen.images, db.exists()) == (0, False)
