import numpy as np
import pytest

from oracles.watch.piha import PIHA, THRESHOLD, _binary_patterns, _blurred, _hue, hashes

LABELS = np.zeros(1, np.int32)


def smooth(n: int, seed: int = 0, side: int = 32) -> np.ndarray:
    """Images of large areas of colour."""
    small = np.random.default_rng(seed).random((n, 3, 4, 4))
    return np.kron(small, np.ones((1, 1, side // 4, side // 4))).astype(np.float32)


def test_the_hue_is_that_of_the_colour_wheel() -> None:
    colours: dict[tuple[float, float, float], int] = {(1, 0, 0): 0, (1, 1, 0): 60, (0, 1, 0): 120, (0, 1, 1): 180}
    colours |= {(0, 0, 1): 240, (1, 0, 1): 300, (0.5, 0.5, 0.5): 0, (1, 0, 0.5): 330}
    pixels = np.array(list(colours), np.float64).T.reshape(1, 3, 1, -1)
    assert _hue(pixels)[0, 0].tolist() == pytest.approx(list(colours.values()))


def test_blurring_keeps_a_constant_and_spreads_a_point() -> None:
    assert _blurred(np.full((1, 3, 5, 5), 0.3)) == pytest.approx(0.3)
    point = np.zeros((1, 1, 5, 5))
    point[0, 0, 2, 2] = 1.0
    # the kernel of OpenCV: exp(-1/2) / (1 + 2 exp(-1/2)) = 0.274069 beside 0.451863
    assert _blurred(point)[0, 0, 2, 1:4] == pytest.approx(0.451863 * np.array([0.274069, 0.451863, 0.274069]), 1e-5)


def test_binary_patterns_of_a_known_grid() -> None:
    # By hand: the centre, 5, meets right 6, upper right 3 * 0.5 + (2 + 6) * 0.2071 + 5 * 0.0858 = 3.58, up 2, and so on
    grid = np.array([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]])
    bits = [1, 0, 0, 0, 0, 1, 1, 1]
    assert _binary_patterns(grid)[0, 1, 1] == sum(bit << n for n, bit in enumerate(bits))
    assert _binary_patterns(np.zeros((1, 3, 3)))[0].tolist() == [[255] * 3] * 3


@pytest.mark.parametrize(("shape", "blocks"), [((3, 32, 32), 25), ((3, 28, 28), 25), ((1, 30, 20), 15), ((3, 1, 1), 1)])
def test_one_code_for_each_block_of_the_padded_image(shape: tuple[int, int, int], blocks: int) -> None:
    assert hashes(np.random.default_rng(0).random((2, *shape), dtype=np.float32)).shape == (2, blocks)


def test_a_small_patch_and_brightness_raise_an_alarm_and_other_images_none() -> None:
    images = smooth(20)
    watcher = PIHA()
    found = watcher.observe(images, LABELS)
    assert (found.scores < 0.9).all()
    patched = images[3:4].copy()
    patched[0, :, 29:, 29:] = patched[0, :, 28:29, 28:29]
    for other in (images[3:4], images[3:4] * np.float32(0.8), patched):
        again = watcher.observe(other, LABELS)
        assert (again.scores[0] > THRESHOLD, again.nearest[0]) == (True, 3)


def test_scores_do_not_depend_on_the_calls_and_the_oldest_are_forgotten() -> None:
    images = np.concatenate([smooth(300), smooth(300)])
    whole, parts = PIHA(), PIHA()
    found = whole.observe(images, LABELS)
    cut = [parts.observe(part, LABELS) for part in np.array_split(images, 7)]
    assert np.array_equal(found.scores, np.concatenate([part.scores for part in cut]))
    assert found.scores[300:].tolist() == [1.0] * 300
    assert np.array_equal(found.nearest[300:], np.arange(300))
    short = PIHA(memory=299)
    forgotten = short.observe(images, LABELS)
    assert (forgotten.scores[300:] < 1.0).all()
    kept = PIHA(memory=300).observe(images, LABELS)
    assert np.array_equal(kept.nearest[300:], np.arange(300))
