import numpy as np
import pytest
from scipy import stats

from oracles.watch.prada import PRADA, THRESHOLD, abnormality


def as_published(images: np.ndarray, labels: np.ndarray) -> float:
    """1 - W after the last test, by the authors' steps written out again for a short history."""
    sets: dict[int, list[np.ndarray]] = {}
    set_distances: dict[int, list[float]] = {}
    thresholds: dict[int, float] = {}
    distances: dict[int, list[float]] = {}
    score = 0.0
    for n, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        if label not in sets:
            sets[label], set_distances[label], thresholds[label] = [image], [0.0], 0.0
        else:
            nearest = min(float(np.sqrt(((image - other) ** 2).sum())) for other in sets[label])
            distances.setdefault(label, []).append(nearest)
            if nearest > thresholds[label]:
                sets[label].append(image)
                set_distances[label].append(nearest)
                held = np.array(set_distances[label])
                thresholds[label] = max(thresholds[label], held.mean() - held.std())
        if n % 10 == 0:
            pooled = np.array([d for own in distances.values() if len(own) >= 10 for d in own])
            if len(pooled) > 0:
                pooled = pooled[np.abs(pooled - pooled.mean()) < 3 * pooled.std()]
            if len(pooled) > 100:
                score = 1.0 - stats.shapiro(pooled).statistic
    return score


def natural(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random((n, 1, 6, 6), dtype=np.float32), rng.integers(0, 3, n).astype(np.int32)


@pytest.mark.parametrize("n", [100, 141, 305])
def test_it_follows_the_published_steps(n: int) -> None:
    images, labels = natural(n)
    assert PRADA().observe(images, labels).scores[-1] == pytest.approx(as_published(images, labels), abs=1e-6)


def test_random_images_raise_no_alarm_and_steps_away_from_an_image_do() -> None:
    images, labels = natural(400)
    watcher = PRADA()
    assert (watcher.observe(images, labels).scores < THRESHOLD).all()
    steps = images[:1] + np.float32(0.001) * np.sign(natural(400, seed=1)[0] - np.float32(0.5))
    assert watcher.observe(steps, np.full(400, labels[0])).scores[-1] > THRESHOLD
    assert watcher.observe(images[:1], labels[:1]).nearest.tolist() == [-1]


def test_scores_do_not_depend_on_the_calls() -> None:
    images, labels = natural(250)
    whole = PRADA().observe(images, labels).scores
    watcher = PRADA()
    parts = [
        watcher.observe(x, y).scores for x, y in zip(np.array_split(images, 9), np.array_split(labels, 9), strict=True)
    ]
    assert np.array_equal(whole, np.concatenate(parts))
    assert (whole[:101] == 0.0).all()
    assert whole[-1] > 0.0


def test_a_full_memory_measures_distances_but_keeps_no_more_images() -> None:
    images, labels = natural(250)
    watcher = PRADA(memory=10)
    assert watcher.observe(images, labels).scores[-1] > 0.0
    assert sum(growing.images for growing in watcher._sets.values()) == 10


def test_abnormality_of_known_samples() -> None:
    quantiles = stats.norm.ppf((np.arange(200) + 0.5) / 200)
    assert abnormality(quantiles) == pytest.approx(0.0, abs=1e-3)
    assert abnormality(np.full(200, 3.0)) == 1.0
    assert abnormality(np.r_[np.zeros(100), np.ones(100)]) > 0.3


def test_the_same_image_again_and_again_scores_one() -> None:
    images, labels = natural(1)
    assert PRADA().observe(np.repeat(images, 150, axis=0), np.repeat(labels, 150)).scores[-1] == 1.0
