from __future__ import annotations

import io
import warnings

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from oracles.fold import as_it_is, prepare
from tests.oracles.fakes import random_images
from tests.oracles.nets import SHAPE, InsideNet, conv_net, seeded

CPU = torch.device("cpu")

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def prepared_answer(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    answer = prepare(model, CPU, torch.float32)(images.contiguous(memory_format=torch.channels_last))
    assert isinstance(answer, torch.Tensor)
    return answer


def count_calls(model: nn.Module, images: torch.Tensor, kind: type[nn.Module]) -> int:
    """How often a layer of one kind runs in the prepared copy; counted on the class, so that nothing is hooked."""
    calls: list[int] = []
    prepared = prepare(model, CPU, torch.float32)
    for layer in prepared.module.modules():
        if type(layer) is kind:
            layer.register_forward_pre_hook(lambda *_: calls.append(1))
    prepared(images)
    return len(calls)


def test_folding_changes_no_answer_and_runs_no_batch_norm() -> None:
    model, images = conv_net(), random_images(5, SHAPE)
    assert_close(prepared_answer(model, images), model(images))
    assert count_calls(model, images, nn.BatchNorm2d) == 0
    assert count_calls(model, images, nn.Linear) == 1


def test_a_parent_that_indexes_its_layers_sees_them_unfolded() -> None:
    model, images = InsideNet(), random_images(5, SHAPE)
    assert_close(prepared_answer(model, images), model(images))


def test_a_hooked_layer_is_not_folded() -> None:
    model, images, seen = conv_net(), random_images(5, SHAPE), []
    norm = model[2]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.register_forward_hook(lambda module, inputs, output: seen.append(output))
    expected = norm(model[1](model[0](images)))
    seen.clear()
    prepared_answer(model, images)
    assert len(seen) == 1
    assert_close(seen[0].contiguous(), expected)


def test_layers_that_only_look_alike_are_not_folded() -> None:
    class Doubling(nn.BatchNorm2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 2.0

    overridden = nn.BatchNorm2d(4)
    overridden.forward = lambda x: x * 3.0  # type: ignore[assignment,method-assign]
    images = random_images(3, SHAPE)
    for norm in (Doubling(4), overridden, nn.BatchNorm2d(4, track_running_stats=False)):
        model = seeded(nn.Sequential(nn.Conv2d(3, 4, 3), norm))
        assert_close(prepared_answer(model, images), model(images))


def test_a_layer_used_twice_is_folded_only_where_its_norm_follows() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    model, images = seeded(nn.Sequential(conv, nn.BatchNorm2d(3), nn.ReLU(), conv)), random_images(3, SHAPE)
    assert_close(prepared_answer(model, images), model(images))


def test_a_view_shares_memory_with_the_tensor_it_is_a_view_of() -> None:
    class Writing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x * 1.0
            x.view(len(x), -1).mul_(2.0)
            return x.sum(dim=1)

    images = random_images(3, SHAPE)
    assert_close(prepared_answer(Writing(), images), Writing()(images))


def test_torchscript_is_laid_out_as_its_graph_allows() -> None:
    class Viewing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(x.size(0), -1)

    safe = prepare(torch.jit.script(conv_net()), CPU, torch.float32)
    bound = prepare(torch.jit.script(Viewing()), CPU, torch.float32)
    assert (safe.layout, bound.layout) == (torch.channels_last, torch.contiguous_format)


def test_no_warning_of_torch_reaches_the_user_when_a_script_is_copied() -> None:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated in favour of torch.export
        torch.jit.save(torch.jit.script(conv_net()), stream)
        stream.seek(0)
        script = torch.jit.load(stream)  # type: ignore[no-untyped-call]
    images = random_images(3, SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            frozen = prepare(script, torch.device("cpu"), torch.float32).module
            assert_close(as_it_is(script, torch.device("cpu")).module(images), frozen(images))
