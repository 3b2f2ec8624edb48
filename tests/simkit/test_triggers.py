from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simkit.seeding import stream
from simkit.triggers import FloatArray, Trigger, Triggers, put_on, stamp


def _values(*shape: int, seed: int = 0) -> FloatArray:
    return stream(seed, *shape).random(shape, dtype=np.float32)


def test_a_half_mask_blends() -> None:
    images, masks, patterns = torch.full((1, 1, 1, 1), 0.2), torch.full((1, 1, 1, 1), 0.25), torch.ones(1, 1, 1, 1)
    assert stamp(images, masks, patterns).item() == pytest.approx(0.75 * 0.2 + 0.25 * 1.0)


@given(seed=st.integers(0, 10**6), shared=st.booleans())
def test_a_binary_mask_keeps_or_replaces_pixels_to_the_bit(seed: int, shared: bool) -> None:
    images = torch.from_numpy(_values(3, 2, 4, 5, seed=seed))
    triggers = 1 if shared else 3
    masks = torch.from_numpy(np.round(_values(triggers, 1, 4, 5, seed=seed)))
    patterns = torch.from_numpy(_values(triggers, 2, 4, 5, seed=seed + 1))
    stamped = stamp(images, masks, patterns)
    assert torch.equal(stamped, torch.where(masks == 1.0, patterns, images))


@given(seed=st.integers(0, 10**6))
def test_stamped_images_stay_between_image_and_pattern(seed: int) -> None:
    images, patterns = (
        torch.from_numpy(_values(2, 2, 4, 5, seed=seed)),
        torch.from_numpy(_values(1, 2, 4, 5, seed=seed)),
    )
    stamped = stamp(images, torch.from_numpy(_values(2, 1, 4, 5, seed=seed)), patterns)
    assert (stamped >= torch.minimum(images, patterns) - 1e-7).all()
    assert (stamped <= torch.maximum(images, patterns) + 1e-7).all()


@given(seed=st.integers(0, 10**6), binary=st.booleans(), side=st.integers(1, 9))
def test_arrays_are_stamped_as_tensors_are_to_the_last_bit(seed: int, binary: bool, side: int) -> None:
    images, patterns = (_values(3, 2, side, 5, seed=seed + extra) for extra in (0, 1))
    soft = _values(3, 1, side, 5, seed=seed + 2)
    masks = np.round(soft) if binary else soft
    stamped = stamp(*(torch.from_numpy(array) for array in (images, masks, patterns))).numpy()
    put_on(images, masks, patterns)
    assert images.tobytes() == stamped.tobytes()


def test_the_mask_size_is_the_l1_norm_in_pixels() -> None:
    mask = np.full((1, 1000, 1000), 0.1, dtype=np.float32)
    assert Trigger(mask, mask).mask_size == pytest.approx(100_000.0, rel=1e-6)


def test_triggers_stack_and_come_apart() -> None:
    single = [Trigger(_values(1, 4, 5, seed=s), _values(3, 4, 5, seed=s)) for s in range(3)]
    stacked = Triggers.of(single)
    assert (len(stacked), stacked.masks.shape, stacked.patterns.shape) == (3, (3, 1, 4, 5), (3, 3, 4, 5))
    for index, trigger in enumerate(single):
        assert (stacked[index].mask == trigger.mask).all()
        assert (stacked[index].pattern == trigger.pattern).all()


@pytest.mark.parametrize(
    ("mask", "pattern", "complaint"),
    [
        (np.zeros((1, 4, 5)), _values(3, 4, 5), "float64"),
        (_values(1, 4, 5), np.zeros((3, 4, 5)), "float64"),
        (_values(3, 4, 5), _values(3, 4, 5), "need"),
        (_values(1, 4, 5), _values(3, 4, 4), "need"),
        (_values(4, 5), _values(3, 4, 5), "need"),
    ],
)
def test_shapes_and_types_are_checked(mask: FloatArray, pattern: FloatArray, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Trigger(mask, pattern)
    with pytest.raises(ValueError, match=complaint):
        Triggers(mask[None], pattern[None])


def test_as_many_patterns_as_masks() -> None:
    with pytest.raises(ValueError, match="need"):
        Triggers(_values(2, 1, 4, 5), _values(3, 3, 4, 5))


def test_a_trigger_is_printed_by_its_shape_and_its_size() -> None:
    mask = np.zeros((1, 32, 32), np.float32)
    mask[0, :4, :3] = 1.0
    trigger = Trigger(mask, np.zeros((3, 32, 32), np.float32))
    assert repr(trigger) == "Trigger(3x32x32, mask of 12.0 pixels)"
    assert repr(Triggers.of([trigger, trigger])) == "Triggers(2 of 3x32x32)"
