"""Random patches: how they look, what is noted of them, and which are tried again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from simkit.errors import ConfigError
from simkit.search.contract import Evidence, Proposal, Task
from simkit.search.patches import margins, random_patch
from simkit.search.random_patch import RandomPatch, RandomPatchConfig
from simkit.seeding import stream
from tests.patches import stack

TASK = Task((3, 8, 8), 3, (np.arange(30) % 3).astype(np.int32))


def answers(proposal: Proposal, target: int = 1) -> Evidence:
    """The target is named whenever the patch is at most 2x2; else the image's own class."""
    small = stack(proposal.triggers).masks.sum(axis=(1, 2, 3))[proposal.pairs[:, 0]] <= 4
    own = TASK.image_classes[proposal.pairs[:, 1]]
    hit = np.where(small, target, own)[:, None] == np.arange(3)
    return Evidence(np.where(hit, -0.1, -4.0).astype(np.float32), hit, own[:, None] != np.arange(3))


def test_a_patch_is_a_square_with_nothing_around_it() -> None:
    sides, kinds = set(), set()
    for draw in range(200):
        patch = random_patch(stream(draw, "patch"), (3, 8, 6), 4)
        rows, columns = np.nonzero(patch.mask[0])
        side = int(np.ptp(rows)) + 1
        assert patch.mask_size == side**2 == (int(np.ptp(columns)) + 1) ** 2
        assert (patch.pattern[:, patch.mask[0] == 0] == 0).all()
        colours = np.unique(patch.pattern[:, patch.mask[0] == 1].T, axis=0)
        sides.add(side)
        kinds.add(min(len(colours), 3))
    assert sides == {1, 2, 3, 4}
    assert kinds == {1, 2, 3}


def test_a_patch_is_never_larger_than_the_image() -> None:
    sizes = {random_patch(stream(s, "patch"), (1, 2, 9), 4).mask_size for s in range(30)}
    assert sizes == {1.0, 4.0}


def test_places_reach_every_pixel() -> None:
    masks = [random_patch(stream(s, "patch"), (1, 4, 4), 2).mask for s in range(200)]
    assert np.sum(masks, axis=0).min() > 0


def test_margins_are_leads_over_the_best_other_class() -> None:
    score = np.array([[-0.1, -3.0, -4.0], [-2.0, -2.0, -9.0], [-0.01, -5.0, -16.0]], dtype=np.float32)
    assert_allclose(margins(score), [[2.9, -2.9, -3.9], [0.0, 0.0, -6.0], [3.0, -4.99, -6.0]], rtol=1e-6)
    assert_array_equal(margins(np.array([[0.0, -1.0]], dtype=np.float32)), [[1.0, -1.0]])


def test_a_working_patch_is_found_and_its_rate_is_hits_over_trials() -> None:
    search = RandomPatch(RandomPatchConfig(rounds=12), TASK, 0)
    while (proposal := search.ask()) is not None:
        search.tell(answers(proposal))
    first, target, last = search.results()
    assert (target.censored, target.success_rate) == (False, 1.0)
    assert target.mask_size <= 4
    for other in (first, last):
        assert (other.censored, other.success_rate) == (True, 0.0)


def test_the_state_tells_the_best_pair() -> None:
    search = RandomPatch(RandomPatchConfig(rounds=12), TASK, 0)
    while (proposal := search.ask()) is not None:
        search.tell(answers(proposal))
    state, target = json.loads(search.state()), search.results()[1]
    assert (state["best_class"], state["best_patch_size"]) == (1, target.mask_size)
    assert 0.9 < state["best_success_rate"] < 1.0  # hits + 0.5 of trials + 1


def test_promising_patches_are_tried_again_on_new_images_of_other_classes() -> None:
    search = RandomPatch(RandomPatchConfig(fresh=20, retests=6, rounds=20), TASK, 0)
    tried: dict[str, list[int]] = {}
    while (proposal := search.ask()) is not None:
        assert len(proposal.pairs) == (20 if search.rounds == 0 else 26)
        for candidate, image in proposal.pairs:
            trigger = proposal.triggers[int(candidate)]
            key = str(trigger.to_json())
            tried.setdefault(key, []).append(int(image))
            if len(tried[key]) > 1:
                assert trigger.mask_size <= 4, "only what the answers favour"
                assert TASK.image_classes[image] != 1
        search.tell(answers(proposal))
    again = [images for images in tried.values() if len(images) > 1]
    assert again
    assert all(len(images) == len(set(images)) for images in again)
    assert max(map(len, again)) > 8


def test_a_pair_is_tested_out_at_most_trials() -> None:
    search = RandomPatch(RandomPatchConfig(fresh=2, retests=20, rounds=30, required_trials=2, most_trials=4), TASK, 1)
    seen: dict[str, int] = {}
    while (proposal := search.ask()) is not None:
        for candidate in proposal.pairs[:, 0]:
            key = str(proposal.triggers[int(candidate)].to_json())
            seen[key] = seen.get(key, 0) + 1
        search.tell(answers(proposal))
    # A patch is done once each of its three pairs has 4 answers; a batch of 2 may overshoot, own images count for none.
    assert max(seen.values()) <= 3 * (4 + 2)


def test_a_pair_that_works_goes_before_a_luckier_one() -> None:
    search = RandomPatch(RandomPatchConfig(fresh=30, rounds=30), TASK, 0)
    while (proposal := search.ask()) is not None:
        small = stack(proposal.triggers).masks.sum(axis=(1, 2, 3))[proposal.pairs[:, 0]] <= 1
        lucky = ~small & (search.rounds == 29)  # far ahead, once and at the very end
        score = np.tile(np.array([-0.7, -1.2, -16.0], dtype=np.float32), (len(small), 1))
        score[small, 1] = -0.65
        score[lucky] = [-16.0, -0.01, -16.0]
        hit = score.argmax(axis=1)[:, None] == np.arange(3)
        valid = TASK.image_classes[proposal.pairs[:, 1]][:, None] != np.arange(3)
        search.tell(Evidence(score, hit, valid))
    result = search.results()[1]
    assert (result.censored, result.success_rate, result.mask_size) == (False, 1.0, 1.0)


def test_memory_is_bounded() -> None:
    search = RandomPatch(RandomPatchConfig(rounds=40, keep=5), TASK, 0)
    while (proposal := search.ask()) is not None:
        assert len(proposal.triggers) <= 30 + 10
        search.tell(answers(proposal))
        assert json.loads(search.state())["patches"] <= 5 + TASK.n_classes


@pytest.mark.parametrize(
    "change",
    [{"fresh": 0}, {"retests": -1}, {"largest_side": 0}, {"most_trials": 7}, {"required_success": 1.0}, {"keep": 0}],
)
def test_settings_out_of_range_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        RandomPatchConfig(**change)
