import numpy as np
import pytest

from studies.watch.clients import CLIENTS, COPIES, augmenting, explaining

IMAGES = np.random.default_rng(0).random((3, 3, 32, 32), dtype=np.float32)


@pytest.mark.parametrize("name", CLIENTS)
def test_each_call_begins_with_its_image_and_stays_in_range(name: str) -> None:
    calls = list(CLIENTS[name](IMAGES, 0))
    assert len(calls) == 3
    for image, call in zip(IMAGES, calls, strict=True):
        assert np.array_equal(call[0], image)
        assert call.dtype == np.float32
        assert call.shape[1:] == image.shape
        assert 0.0 <= call.min() <= call.max() <= 1.0
    again = list(CLIENTS[name](IMAGES, 0))
    assert all(np.array_equal(a, b) for a, b in zip(calls, again, strict=True))


def test_augmented_copies_are_as_many_as_said_and_follow_the_seed() -> None:
    calls = list(augmenting(IMAGES, 0))
    assert {len(call) for call in calls} == {1 + COPIES}
    assert not np.array_equal(calls[0], next(augmenting(IMAGES, 1)))


def test_a_map_of_occlusion_hides_one_square_at_each_place() -> None:
    call = next(explaining(IMAGES, 0))
    assert len(call) == 1 + 7 * 7  # squares of 8 pixels, 4 apart
    changed = (call[1:] != IMAGES[0]).any(axis=1)
    assert changed.reshape(49, -1).sum(axis=1).tolist() == [64] * 49
    assert changed[0, :8, :8].all()
    assert changed[-1, -8:, -8:].all()


def test_the_smallest_images_can_be_asked() -> None:
    tiny = IMAGES[:1, :1, :2, :2]
    assert all(len(next(client(tiny, 0))) > 1 for client in CLIENTS.values())
