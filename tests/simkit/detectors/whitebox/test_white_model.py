from __future__ import annotations

from threading import Lock
from typing import Any

import pytest
import torch
from torch import nn

from oracles.errors import ModelError
from simkit.detectors.whitebox.white_model import WhiteModel
from simkit.search.evaluator import NotFinite

IMAGES = torch.linspace(0, 1, 24).reshape(6, 1, 2, 2)


def _linear() -> nn.Sequential:
    layer = nn.Linear(4, 3)
    layer.load_state_dict({"weight": torch.arange(12.0).reshape(3, 4) / 12, "bias": torch.zeros(3)})
    return nn.Sequential(nn.Flatten(), layer)


def test_passes_are_counted_in_images_backward_only_where_gradients_are_wanted() -> None:
    model = WhiteModel(_linear())
    model.log_probabilities(IMAGES)
    model.log_probabilities(IMAGES[:2].clone().requires_grad_())
    assert (model.forward_passes, model.backward_passes) == (8, 2)


def test_logits_and_probabilities_give_the_same() -> None:
    logits, probabilities = WhiteModel(_linear()), WhiteModel(nn.Sequential(_linear(), nn.Softmax(dim=1)))
    assert torch.allclose(logits.log_probabilities(IMAGES), probabilities.log_probabilities(IMAGES), atol=1e-6)


def test_what_the_rows_are_is_decided_once() -> None:
    model = WhiteModel(nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)))
    rows = model.log_probabilities(torch.rand(4, 1, 1, 2))  # logits
    uniform = model.log_probabilities(torch.zeros(1, 1, 1, 2))
    assert rows.exp().sum(dim=1).tolist() == pytest.approx([1.0] * 4)
    assert uniform.exp().tolist() == [[0.5, 0.5]]


def test_the_caller_s_module_is_left_alone() -> None:
    module = nn.Sequential(nn.BatchNorm2d(1), _linear()).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    images = IMAGES.clone().requires_grad_()
    WhiteModel(module).log_probabilities(images).sum().backward()  # type: ignore[no-untyped-call]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.training
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


class _Answers(nn.Module):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer = answer

    def forward(self, images: torch.Tensor) -> Any:
        return self._answer(images)


def _raise(images: torch.Tensor) -> Any:
    raise RuntimeError("boom\nand more")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda images: images.detach().flatten(1), "no gradients"),
        (lambda images: [images], "tensor"),
        (lambda images: images.flatten(1)[:1], r"\(6, classes\)"),
        (lambda images: images.flatten(1)[:, :1], r"\(6, classes\)"),
        (_raise, "failed on images .*boom"),
    ],
)
def test_a_model_that_is_no_white_box_is_refused_in_one_line(answer: Any, says: str) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        WhiteModel(_Answers(answer)).log_probabilities(IMAGES.clone().requires_grad_())
    assert "\n" not in str(caught.value)


def test_not_a_number_is_no_answer() -> None:
    with pytest.raises(NotFinite):
        WhiteModel(_Answers(lambda images: images.flatten(1) * float("nan"))).log_probabilities(IMAGES)


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    with pytest.raises(ModelError, match="private copy"):
        WhiteModel(_Answers(Lock()))


def test_folded_batch_norms_change_neither_answers_nor_gradients() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3)
    norm.load_state_dict(norm.state_dict() | {"running_mean": torch.rand(3), "running_var": torch.rand(3) + 0.5})
    module = nn.Sequential(nn.Conv2d(1, 3, 1), norm, nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)).eval()
    own, theirs = IMAGES.clone().requires_grad_(), IMAGES.clone().requires_grad_()
    answers, expected = WhiteModel(module).log_probabilities(own), module(theirs).log_softmax(dim=1)
    answers[:, 0].sum().backward()  # type: ignore[no-untyped-call]
    expected[:, 0].sum().backward()
    assert own.grad is not None
    assert theirs.grad is not None
    assert torch.allclose(answers, expected, atol=1e-6)
    assert torch.allclose(own.grad, theirs.grad, atol=1e-6)


class _Views(nn.Module):
    """Wants its images in one piece."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.view(len(images), -1)[:, :3] + 0.0


def test_code_that_wants_another_layout_has_it() -> None:
    images = torch.rand(2, 3, 4, 4).requires_grad_()
    rows = WhiteModel(_Views()).log_probabilities(images)
    assert torch.allclose(rows, images.view(2, -1)[:, :3].log_softmax(dim=1))
