"""What every oracle promises, whatever it is made of: subclass `OracleContract` and give it one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from oracles.answers import MISSING, Answer, Labels, Scores, TopK, decode, encode
from oracles.errors import InvalidImages
from oracles.meter import MemoryRecorder
from oracles.oracle import Oracle, Tag

STEP = 4
"""The step of every tag below."""


def recorder_for_contracts() -> MemoryRecorder:
    """A recorder that knows the step of the contract's tags, for oracles that record."""
    recorder = MemoryRecorder()
    recorder.open_step(STEP, "search", "{}")
    return recorder


class OracleContract:
    """Contract tests; `make` builds a fresh oracle each time it is called."""

    answer_type: type[Scores] | type[TopK] | type[Labels] = Scores
    normalised = True
    """Whether all scores are told and sum to 1."""

    def make(self) -> Oracle:
        raise NotImplementedError

    def images(self, oracle: Oracle, count: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(11)
        return torch.rand((count, *oracle.image_shape), generator=generator)

    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_one_row_an_image_of_the_stated_type(self, count: int) -> None:
        oracle = self.make()
        answer = oracle.query(self.images(oracle, count))
        assert type(answer) is self.answer_type
        assert len(answer) == count
        assert answer.n_classes == oracle.n_classes
        check_answer(answer, self.normalised)

    def test_the_tag_is_opaque(self) -> None:
        plain, tagged = self.make(), self.make()
        images = self.images(plain, 3)
        tag = Tag(STEP, np.array([[0, 1], [5, -1], [7, 2]], dtype=np.int32))
        assert encode(plain.query(images)) == encode(tagged.query(images, tag))

    def test_the_callers_images_are_left_alone(self) -> None:
        oracle = self.make()
        images = self.images(oracle, 3)
        before = images.clone()
        oracle.query(images)
        assert torch.equal(images, before)

    def test_answers_survive_the_codec(self) -> None:
        oracle = self.make()
        answer = oracle.query(self.images(oracle, 3))
        codec, data = encode(answer)
        assert encode(decode(codec, data)) == (codec, data)

    @pytest.mark.parametrize("case", ["empty", "double", "integer", "unbatched", "channels", "width"])
    def test_bad_images_are_refused_and_do_not_count(self, case: str) -> None:
        oracle, fresh = self.make(), self.make()
        with pytest.raises(InvalidImages):
            oracle.query(spoil(self.images(oracle, 2), case))
        images = self.images(oracle, 2)
        assert encode(oracle.query(images)) == encode(fresh.query(images))

    def test_the_description_is_true_and_asking_for_it_is_free(self) -> None:
        oracle, fresh = self.make(), self.make()
        assert oracle.n_classes >= 2
        assert len(oracle.image_shape) == 3
        images = self.images(oracle, 2)
        assert encode(oracle.query(images)) == encode(fresh.query(images))


def check_answer(answer: Answer, normalised: bool) -> None:
    """Types, ranges and order of one answer."""
    if isinstance(answer, Labels):
        assert answer.labels.dtype == np.int32
        assert answer.labels.shape == (len(answer),)
        assert ((answer.labels >= MISSING) & (answer.labels < answer.n_classes)).all()
        return
    assert answer.values.dtype == np.float32
    assert ((answer.values >= 0.0) & (answer.values <= 1.0)).all()
    if isinstance(answer, TopK):
        assert answer.classes.dtype == np.int32
        assert answer.classes.shape == answer.values.shape
        assert (np.diff(answer.values, axis=1) <= 0.0).all(), "best first"
        assert (answer.values[answer.classes == MISSING] == 0.0).all()
    else:
        assert answer.values.shape == (len(answer), answer.n_classes)
        if normalised:
            np.testing.assert_allclose(answer.values.sum(axis=1), 1.0, atol=2e-3)


def spoil(images: torch.Tensor, case: str) -> torch.Tensor:
    """The same images, made into a batch that no oracle takes."""
    spoiled = {
        "empty": images[:0],
        "double": images.double(),
        "integer": (images * 255).to(torch.uint8),
        "unbatched": images[0],
        "channels": torch.cat([images, images], dim=1),
        "width": images[..., :-1],
    }
    return spoiled[case]
