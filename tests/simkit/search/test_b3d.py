"""B3D through what it proposes: which queries, on which images, and that it goes where the answers point."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from simkit.errors import ConfigError
from simkit.search.b3d import B3D, B3DConfig
from simkit.search.contract import Evidence, Proposal, Task
from simkit.triggers import FloatArray
from tests.patches import stack

TASK = Task((2, 6, 6), 3, (np.arange(12) % 3).astype(np.int32))
SLIDES = B3DConfig(samples=6, images=3, steps=25, mask_init=0.0, learning_rate=0.1, check_every=4, check_images=5)
EFFICIENT = replace(SLIDES, grid=3, baseline="leave_one_out", joint=True, antithetic=True, exact_sparsity=True)
BOTH = pytest.mark.parametrize("config", [SLIDES, EFFICIENT])


def proposals(config: B3DConfig, score_of: Callable[[Proposal], FloatArray], hits: bool = False) -> list[Proposal]:
    """All proposals of a search that is told one score a candidate, the same for every class."""
    search, asked = B3D(config, TASK, 3), []
    while (proposal := search.ask()) is not None:
        score = np.repeat(score_of(proposal)[proposal.pairs[:, 0], None], 3, axis=1).astype(np.float32)
        search.tell(Evidence(score, np.full(score.shape, hits), np.ones(score.shape, dtype=np.bool_)))
        asked.append(proposal)
    return asked


def nothing(proposal: Proposal) -> FloatArray:
    return np.zeros(len(proposal.triggers), dtype=np.float32)


@BOTH
def test_classes_take_turns_and_never_use_their_own_images(config: B3DConfig) -> None:
    asked = proposals(config, nothing)
    assert len(asked) == 3 * config.steps
    for turn, proposal in enumerate(asked):
        assert (TASK.image_classes[proposal.pairs[:, 1]] != turn % 3).all()


@BOTH
def test_each_candidate_is_tried_on_the_same_images_and_now_and_then_one_more_on_others(config: B3DConfig) -> None:
    candidates = 6 if config.joint else 12
    for turn, proposal in enumerate(proposals(config, nothing)):
        checked = (turn // 3 + 1) % config.check_every == 0
        counts = np.bincount(proposal.pairs[:, 0]).tolist()
        assert counts == [3] * candidates + [5] * checked
        first = proposal.pairs[:3, 1].tolist()
        assert len(set(first)) == 3
        assert proposal.pairs[: 3 * candidates, 1].tolist() == first * candidates


def test_the_slides_sample_masks_with_the_mean_pattern_and_patterns_with_the_mean_mask() -> None:
    triggers = stack(proposals(SLIDES, nothing)[0].triggers)
    assert set(np.unique(triggers.masks[:6])) == {0.0, 1.0}
    assert (triggers.patterns[:6] == triggers.patterns[0]).all()
    assert (triggers.masks[6:] == 0.5).all()
    assert len(np.unique(triggers.patterns[6:].reshape(6, -1), axis=0)) == 6


def test_joint_samples_have_binary_masks_opposite_noise_and_tiles() -> None:
    triggers = stack(proposals(EFFICIENT, nothing)[0].triggers)
    assert set(np.unique(triggers.masks)) == {0.0, 1.0}
    np.testing.assert_allclose(triggers.patterns[:3] + triggers.patterns[3:], 1.0, atol=1e-6)
    tiles = triggers.masks.reshape(*triggers.masks.shape[:2], 3, 2, 3, 2)
    assert (tiles == tiles[..., :1, :, :1]).all()


@BOTH
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_pattern_follows_the_score(config: B3DConfig, sign: float) -> None:
    def corner(proposal: Proposal) -> FloatArray:
        brightness: FloatArray = stack(proposal.triggers).patterns[:, :, :2, :2].mean(axis=(1, 2, 3))
        return np.float32(sign * 20.0) * (brightness - np.float32(0.5))

    asked = proposals(replace(config, sigma=0.5), corner)
    first, last = (
        np.mean([stack(p.triggers).patterns[..., :2, :2].mean() for p in part]) for part in (asked[:6], asked[-6:])
    )
    assert sign * (last - first) > 0.1


@BOTH
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_mask_follows_the_score_pixel_by_pixel(config: B3DConfig, sign: float) -> None:
    def corner(proposal: Proposal) -> FloatArray:
        density: FloatArray = stack(proposal.triggers).masks[:, 0, :2, :2].mean(axis=(1, 2))
        return np.float32(sign * 20.0) * (density - np.float32(0.5))

    asked = proposals(config, corner)
    first, last = (
        np.mean([stack(p.triggers).masks[..., :2, :2].mean() for p in part]) for part in (asked[:6], asked[-6:])
    )
    assert sign * (last - first) > 0.15


@BOTH
def test_a_trigger_that_always_works_shrinks(config: B3DConfig) -> None:
    sparsity = replace(config.sparsity, weight=1.0)
    asked = proposals(replace(config, sparsity=sparsity, samples=24, steps=40), nothing, hits=True)
    first, last = (np.mean([stack(p.triggers).masks.mean() for p in part]) for part in (asked[:6], asked[-6:]))
    assert last < 0.7 * first


@BOTH
def test_the_state_tells_the_loss_of_the_last_step_of_the_class_whose_turn_it_is(config: B3DConfig) -> None:
    search, losses = B3D(config, TASK, 3), []
    for turn in range(7):
        proposal = search.ask()
        assert proposal is not None
        state = json.loads(search.state())
        assert (state["round"], state["class"]) == divmod(turn, 3)
        losses.append(state["loss"])
        score = np.full((len(proposal.pairs), 3), -turn, dtype=np.float32)
        search.tell(Evidence(score, score > 0.0, np.ones(score.shape, dtype=np.bool_)))
    assert losses == [None, None, None, 0.0, 1.0, 2.0, 3.0]


def test_a_class_that_owns_every_image_has_no_turn() -> None:
    search = B3D(SLIDES, Task((1, 4, 4), 3, np.ones(5, dtype=np.int32)), 0)
    turns = []
    while (proposal := search.ask()) is not None:
        turns.append(json.loads(search.state())["class"])
        nothing_hit = np.zeros((len(proposal.pairs), 3), dtype=np.bool_)
        search.tell(Evidence(nothing_hit.astype(np.float32), nothing_hit, ~nothing_hit))
    assert turns == [0, 2] * SLIDES.steps
    assert search.rounds == SLIDES.steps
    assert [c.success_rate is None for c in search.results()] == [False, True, False]


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 0},
        {"sigma": 0.0},
        {"required_success": 1.5},
        {"samples": 7},
        {"samples": 2},
        {"learning_rate": -1.0},
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        replace(EFFICIENT, **change)  # type: ignore[arg-type]
