"""Every family of triggers under one contract, and its known answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from simkit.attacks.blended import Blended
from simkit.attacks.sinusoidal import Sinusoidal
from simkit.attacks.warping import Warping, warp, warping_field
from simkit.errors import ConfigError, ContractError
from simkit.seeding import stream
from simkit.transforms import grids
from simkit.transforms.blend import Blend, BlendFamily, Layer
from simkit.transforms.breeding import Breeder, Family
from simkit.transforms.contract import Transforms, described, same
from simkit.transforms.families import FAMILIES, transform_from_json
from simkit.transforms.grids import bicubic, enlarged
from simkit.transforms.patch import PatchFamily
from simkit.transforms.picture import Picture, PictureFamily
from simkit.transforms.warp import Warp, WarpFamily
from simkit.transforms.wave import Wave, WaveFamily, Waves
from simkit.triggers import Trigger

SHAPE = (3, 12, 10)
PIXELS = np.random.default_rng(0).random((5, *SHAPE), dtype=np.float32)
FAMILY_SETTINGS = (PatchFamily(), WaveFamily(), BlendFamily(), WarpFamily(), PictureFamily())
SETTINGS: dict[str, Family] = {f.name: f for f in FAMILY_SETTINGS}


def bred(family: str, seed: int, generations: int) -> tuple[Breeder, list[Any]]:
    """A candidate and its descendants, each the child of the one before."""
    breeder = SETTINGS[family].breeder(SHAPE)
    rng = stream(seed, "bred")
    line = [breeder.fresh(rng)]
    for _ in range(generations):
        line.append(breeder.child(line[-1], line[:-1], rng))
    return breeder, line


def test_every_family_has_settings() -> None:
    assert set(SETTINGS) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
class TestEveryFamily:
    @given(seed=st.integers(0, 2**32), generations=st.integers(0, 6))
    def test_a_trigger_keeps_the_images_valid_and_returns_from_its_json(
        self, family: str, seed: int, generations: int
    ) -> None:
        breeder, line = bred(family, seed, generations)
        trigger = breeder.transform(line[-1])
        before = PIXELS.copy()
        put = trigger.on(PIXELS)
        np.testing.assert_array_equal(PIXELS, before)
        assert put.shape == PIXELS.shape
        assert put.dtype == np.float32
        assert 0.0 <= put.min() <= put.max() <= 1.0
        stored = transform_from_json(json.loads(json.dumps(trigger.to_json())))
        assert stored.family == family
        assert same(stored, trigger)
        np.testing.assert_array_equal(stored.on(PIXELS), put)
        np.testing.assert_array_equal(trigger.copied().on(PIXELS), put)
        assert stored.strength == pytest.approx(trigger.strength)
        assert 0 < trigger.mask_size <= 120

    @given(seed=st.integers(0, 2**32))
    def test_descendants_come_to_be_within_the_cap_and_differ(self, family: str, seed: int) -> None:
        breeder, line = bred(family, seed, 8)
        assert breeder.share(line[-1]) <= 1.0 + 1e-9
        assert not same(breeder.transform(line[-1]), breeder.transform(line[0]))

    def test_draws_repeat(self, family: str) -> None:
        (breeder, first), (_, second) = bred(family, 3, 4), bred(family, 3, 4)
        assert all(same(breeder.transform(a), breeder.transform(b)) for a, b in zip(first, second, strict=True))

    def test_images_of_another_shape_are_refused(self, family: str) -> None:
        breeder, line = bred(family, 1, 0)
        with pytest.raises((ContractError, ValueError)):
            breeder.transform(line[0]).on(np.zeros((2, 3, 8, 8), np.float32))

    def test_candidates_are_put_on_their_own_images(self, family: str) -> None:
        breeder, line = bred(family, 2, 2)
        triggers = Transforms([breeder.transform(c) for c in line])
        images, which = PIXELS.copy(), np.array([2, 0, 1, 0, 2], np.int32)
        triggers.put_on(images, which)
        for row, candidate in enumerate(which):
            np.testing.assert_array_equal(images[row], triggers[candidate].on(PIXELS[[row]])[0])

    @pytest.mark.parametrize("spoiled", [None, "text", -1, [], {}, float("nan"), [[1, 2], [3]], 10**400])
    def test_a_spoiled_form_is_refused_in_one_line(self, family: str, spoiled: Any) -> None:
        breeder, line = bred(family, 1, 0)
        whole = breeder.transform(line[0]).to_json()
        for name in whole:
            with pytest.raises(ConfigError) as told:
                transform_from_json(whole | {name: spoiled})
            assert "\n" not in str(told.value)
            with pytest.raises(ConfigError):
                transform_from_json({key: value for key, value in whole.items() if key != name})


def test_a_family_of_ones_own_is_read_and_an_unknown_one_named() -> None:
    mine = Waves(SHAPE, (Wave((1.0, 0.0), 0.0, (0.1, 0.1, 0.1)),))
    assert transform_from_json({"family": "mine"}, {"mine": lambda _: mine}) is mine
    with pytest.raises(ConfigError, match="no family of triggers 'mine'; known are patch"):
        transform_from_json({"family": "mine"})


@pytest.mark.parametrize("side", [0, -1])
def test_a_patch_of_no_or_an_open_side_is_refused(side: int) -> None:
    whole = Trigger(np.ones((1, 4, 4), np.float32), np.ones((3, 4, 4), np.float32)).to_json()
    for at in range(3):
        shape = [side if i == at else length for i, length in enumerate((3, 4, 4))]
        with pytest.raises(ConfigError, match="family patch"):
            transform_from_json(whole | {"image_shape": shape})


def test_a_wave_is_that_of_the_attack() -> None:
    attack = Sinusoidal(target_class=0, amplitude=0.1, frequency=3.0)
    expected = attack.stamp_all(torch.from_numpy(PIXELS)).numpy()
    ours = Waves(SHAPE, (Wave((3.0, 0.0), 0.0, (0.1, 0.1, 0.1)),))
    np.testing.assert_allclose(ours.on(PIXELS), expected, atol=1e-6)
    assert ours.strength == pytest.approx(25.5)
    assert described(ours) == "a wave of 26 of 255"
    assert ours.words == "a wave of 26 of 255, 3.0 cycles"


def test_a_warp_is_that_of_the_attack() -> None:
    attack = Warping(target_class=0, field_seed=5, strength=4.0)
    expected = attack.stamp_all(torch.from_numpy(PIXELS)).numpy()
    drawn = stream(5, "warping", "field").uniform(-1.0, 1.0, (1, 2, 4, 4))
    share = np.array([(10 - 1) / 20, (12 - 1) / 24])
    shifts = (drawn / np.abs(drawn).mean())[0].transpose(1, 2, 0) * 4.0 * share
    ours = Warp(SHAPE, shifts)
    field = warping_field((12, 10), 4, 4.0, 5)
    np.testing.assert_allclose(ours.field, field[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(ours.on(PIXELS), expected, atol=1e-5)
    np.testing.assert_allclose(ours.on(PIXELS), warp(torch.from_numpy(PIXELS), field).numpy(), atol=1e-5)


def test_a_field_is_summed_in_one_order_so_that_a_ledger_is_replayed_to_the_last_bit() -> None:
    shifts = stream(0, "shifts").normal(0.0, 1.0, (3, 3, 2))
    down, across, summed = bicubic(3, 5), bicubic(3, 6), np.zeros((5, 6, 2))
    for place in np.ndindex(summed.shape):
        for row, column in np.ndindex(3, 3):
            summed[place] += down[place[0], row] * shifts[row, column, place[2]] * across[place[1], column]
    np.testing.assert_array_equal(Warp((1, 5, 6), shifts).field, summed, strict=True)


def test_large_images_are_interpolated_in_bands_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    shifts, grid = stream(0, "shifts").normal(0.0, 1.0, (6, 6, 2)), stream(0, "grid").random((3, 8, 8))
    whole = Warp((1, 20, 24), shifts).field, enlarged(grid, 20, 24)
    monkeypatch.setattr(grids, "_AT_ONCE", 6_000)
    np.testing.assert_array_equal(Warp((1, 20, 24), shifts).field, whole[0], strict=True)
    np.testing.assert_array_equal(enlarged(grid, 20, 24), whole[1], strict=True)


def test_a_stored_warp_that_would_take_hours_is_refused() -> None:
    form = Warp((3, 512, 512), np.zeros((64, 64, 2))).to_json()
    assert transform_from_json(form).family == "warp"
    with pytest.raises(ConfigError, match="64x64 shifts are too many for images of 513x512"):
        transform_from_json(form | {"image_shape": [3, 513, 512]})


@pytest.mark.parametrize(("points", "pixels"), [(2, 5), (3, 12), (4, 32), (6, 7)])
def test_bicubic_weights_are_those_of_torch(points: int, pixels: int) -> None:
    values = torch.eye(points, dtype=torch.float64)[:, None, None, :].expand(points, 1, points, points)
    rows = functional.interpolate(values, size=(pixels, pixels), mode="bicubic", align_corners=True)[:, 0, 0]
    np.testing.assert_allclose(bicubic(points, pixels), rows.numpy().T, atol=1e-9)


def test_a_blend_is_that_of_the_attack() -> None:
    cells = np.random.default_rng(1).integers(0, 256, SHAPE).astype(np.uint8)
    picture = Trigger(np.ones((1, *SHAPE[1:]), np.float32), (cells / 255).astype(np.float32))
    expected = Blended(trigger=picture, target_class=0, alpha=0.2).stamp_all(torch.from_numpy(PIXELS)).numpy()
    ours = Blend(SHAPE, (Layer(0.2, 1, cells),))
    np.testing.assert_allclose(ours.on(PIXELS), expected, atol=1e-6)
    assert ours.strength == pytest.approx(0.2)


def test_a_picture_is_that_of_the_attack_and_enlarged_as_torch_does() -> None:
    points = np.random.default_rng(2).integers(0, 256, (3, 4, 4)).astype(np.uint8)
    large = functional.interpolate(
        torch.from_numpy(points / 255)[None], size=SHAPE[1:], mode="bicubic", align_corners=True
    )[0]
    np.testing.assert_allclose(enlarged(points / 255, *SHAPE[1:]), large.numpy(), atol=1e-9)
    picture = Trigger(np.ones((1, *SHAPE[1:]), np.float32), large.clamp(0.0, 1.0).numpy().astype(np.float32))
    expected = Blended(trigger=picture, target_class=0, alpha=0.2).stamp_all(torch.from_numpy(PIXELS)).numpy()
    ours = Picture(SHAPE, 0.2, points)
    np.testing.assert_allclose(ours.on(PIXELS), expected, atol=1e-6)
    assert ours.words == "a picture of 0.2 of the image, 4x4 points"


def test_pictures_of_two_layers_are_blended_in_order() -> None:
    black, white = np.zeros((1, 3, 3), np.uint8), np.full((1, 3, 3), 255, np.uint8)
    images = np.full((1, 3, 12, 10), 0.5, np.float32)
    both = Blend(SHAPE, (Layer(0.5, 4, black), Layer(0.5, 4, white))).on(images)
    np.testing.assert_allclose(both, 0.5 * (0.5 * 0.5) + 0.5, atol=1e-6)


def test_waves_stay_within_their_band() -> None:
    breeder, line = bred("wave", 11, 0)
    rng = stream(1, "band")
    for _ in range(60):
        line.append(breeder.child(line[-1], [], rng))
    assert all(np.hypot(*wave.cycles) <= 7.5 + 1e-9 for waves in line for wave in waves.waves)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: WaveFamily(largest_amplitude=0.0), "amplitude"),
        (lambda: WaveFamily(least_cycles=9.0), "least_cycles <= most_cycles"),
        (lambda: BlendFamily(largest_alpha=1.0), "largest_alpha"),
        (lambda: WarpFamily(grids=(1, 3)), "grids"),
        (lambda: PatchFamily(in_corner=1.5), "in_corner"),
    ],
)
def test_settings_out_of_range_are_refused(make: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make()
