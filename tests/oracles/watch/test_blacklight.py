import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.watch.blacklight import KEPT, THRESHOLD, Blacklight, hashes

LABELS = np.zeros(1, np.int32)


def eight_bit(n: int, seed: int = 0, side: int = 32) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, (n, 3, side, side))
    return (values / 255).astype(np.float32)


def by_sets(images: np.ndarray) -> list[tuple[int, int]]:
    """The largest overlap with any earlier query and the first query that has it, by sets of hashes."""
    kept = [set(row[row > 0].tolist()) for row in hashes(images)]
    found = []
    for n, own in enumerate(kept):
        shared = [len(own & earlier) for earlier in kept[:n]]
        best = max(shared, default=0)
        found.append((best, shared.index(best) if best else -1))
    return found


def variations(n: int, seed: int) -> np.ndarray:
    """Two images with random patches."""
    rng = np.random.default_rng(seed)
    images = eight_bit(2, seed, 8)[rng.integers(0, 2, n)]
    for image in images:
        row, column = rng.integers(0, 6, 2)
        image[:, row : row + 2, column : column + 2] = rng.random()
    return images


@given(st.integers(0, 10_000), st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_scores_are_the_largest_overlap_with_one_earlier_query_however_calls_are_cut(seed: int, parts: int) -> None:
    images = variations(30, seed)
    watcher = Blacklight()
    found = [watcher.observe(part, LABELS) for part in np.array_split(images, parts)]
    pairs = [(int(score), int(near)) for part in found for score, near in zip(part.scores, part.nearest, strict=True)]
    assert pairs == by_sets(images)


@pytest.mark.parametrize(
    ("change", "alarm"),
    [
        (lambda x: x, True),
        (lambda x: np.where(np.indices(x.shape)[2:].max(axis=0) < 3, 1.0, x), True),  # a patch of 3x3
        (lambda x: 1.0 - x, False),
        (lambda x: eight_bit(1, seed=1), False),
        (lambda x: np.roll(x, 1, axis=3), False),
        (lambda x: np.random.default_rng(0).random(x.shape), False),
    ],
)
def test_small_changes_of_one_image_raise_an_alarm_and_other_images_none(
    change: Callable[[np.ndarray], np.ndarray], alarm: bool
) -> None:
    image = eight_bit(1)
    watcher = Blacklight()
    assert watcher.observe(image, LABELS).scores.tolist() == [0.0]
    score = watcher.observe(change(image).astype(np.float32), LABELS).scores[0]
    assert (score > THRESHOLD) == alarm
    assert 0 <= score <= KEPT


def test_an_exact_repetition_shares_every_hash_and_names_the_first_query() -> None:
    images = np.concatenate([eight_bit(3), eight_bit(3)[1:2], eight_bit(3)[1:2]])
    found = Blacklight().observe(images, LABELS)
    assert found.scores.tolist() == [0, 0, 0, KEPT, KEPT]
    assert found.nearest.tolist() == [-1, -1, -1, 1, 1]


@pytest.mark.parametrize(("memory", "score"), [(5, KEPT), (4, 0)])
def test_it_forgets_the_oldest_queries(memory: int, score: int) -> None:
    watcher = Blacklight(memory)
    watcher.observe(eight_bit(5), LABELS)
    assert watcher.observe(eight_bit(5)[:1], LABELS).scores.tolist() == [score]
    again = watcher.observe(eight_bit(5)[:1], LABELS)
    assert (again.scores.tolist(), again.nearest.tolist()) == ([KEPT], [0 if score and memory > 5 else 5])


def test_forgetting_frees_the_index() -> None:
    watcher = Blacklight(memory=10)
    for seed in range(20):
        watcher.observe(variations(10, seed), LABELS)
    assert len(watcher._index) <= 10 * KEPT
    assert sum(1 if isinstance(entry, int) else len(entry) for entry in watcher._index.values()) <= 10 * KEPT


@pytest.mark.parametrize("image", [np.zeros((1, 1, 2, 2)), np.zeros((1, 3, 32, 32)), np.ones((1, 1, 5, 4))])
def test_tiny_images_and_those_of_one_colour_have_hashes_or_none(image: np.ndarray) -> None:
    rows = hashes(image.astype(np.float32))
    different = rows[rows > 0]
    windows = max(0, image.size - 19)
    assert rows.shape == (1, KEPT)
    assert len(set(different.tolist())) == len(different) <= windows


def test_equal_runs_have_equal_hashes_and_the_salt_tells_places_apart() -> None:
    image = np.full((1, 1, 4, 10), 0.5, np.float32)
    assert len(set(hashes(image)[0].tolist()) - {0}) > 15
    assert np.array_equal(hashes(image), hashes(image))
    assert not np.array_equal(hashes(image), hashes(image, seed=1))


def test_ten_thousand_images_a_second_of_processor_time() -> None:
    images = eight_bit(2000)
    rates = []
    for _ in range(3):
        start = time.process_time()
        Blacklight().observe(images, LABELS)
        rates.append(len(images) / (time.process_time() - start))
    assert max(rates) > 10_000
