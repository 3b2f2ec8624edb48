"""The architectures: what they take, and that their batch norms can be folded from structure."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from simkit.data import ImageShape
from simkit.errors import ConfigError
from simkit.zoo.layers import Attention, Normalise, Residual, Skip, TokenDense
from simkit.zoo.networks import NETWORKS, build_network

SHAPES: list[ImageShape] = [(1, 8, 8), (3, 32, 32), (3, 13, 9), (3, 4, 4)]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_it_answers_logits_for_any_number_of_images(name: str, shape: ImageShape) -> None:
    network = build_network(name, shape, 7, seed=0).eval()
    with torch.inference_mode():
        assert network(torch.rand(0, *shape)).shape == (0, 7)
        answer = network(torch.rand(3, *shape))
    assert answer.shape == (3, 7)
    assert bool(torch.isfinite(answer).all())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_batch_norm_follows_a_convolution_in_a_plain_sequential(name: str) -> None:
    network = build_network(name, (3, 32, 32), 10, seed=0)
    norms = {m for m in network.modules() if isinstance(m, nn.BatchNorm2d)}
    foldable = {
        after
        for parent in network.modules()
        if type(parent) is nn.Sequential
        for before, after in zip(list(parent)[:-1], list(parent)[1:], strict=True)
        if isinstance(before, nn.Conv2d) and before.bias is None
    }
    assert norms
    assert norms <= foldable


def test_weights_follow_the_seed_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again, other = (build_network("conv4", (1, 8, 8), 10, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(_weights(first), _weights(again))
    assert not torch.equal(_weights(first), _weights(other))


def test_conv4_answers_alike_wherever_the_patch_is_and_flat_does_not() -> None:
    here, there = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)  # no cell sees both a border and the patch
    here[:, :, 28:30, 28:30] = there[:, :, 32:34, 32:34] = 1.0  # four pixels apart: the stride of the two pools
    with torch.inference_mode():
        conv4, flat = (build_network(name, (1, 64, 64), 5, 0).eval() for name in ("conv4", "flat"))
        assert torch.allclose(conv4(here), conv4(there), atol=1e-5)
        assert not torch.allclose(flat(here), flat(there), atol=1e-3)


def test_normalise_centres_and_scales() -> None:
    images = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 3)
    assert Normalise()(images).flatten().tolist() == [-2.0, 0.0, 2.0]
    assert set(Normalise(0.1, 0.2).state_dict()) == {"mean", "std"}


def test_a_residual_block_adds_its_input() -> None:
    block = Residual(4, 4, 1).eval()
    for parameter in block.body.parameters():
        nn.init.zeros_(parameter)
    images = torch.randn(2, 4, 6, 6)
    assert torch.equal(block(images), torch.relu(images))


def test_a_skip_adds_its_input_and_nothing_after_it() -> None:
    block = Skip(4).eval()
    for parameter in block.body.parameters():
        nn.init.zeros_(parameter)
    images = torch.randn(2, 4, 6, 6)
    assert torch.equal(block(images), images)


@pytest.mark.parametrize("block", [Attention(8, heads=2), TokenDense(8)])
def test_an_untrained_block_of_tokens_changes_nothing_but_can_learn(block: nn.Module) -> None:
    tokens = torch.randn(2, 5, 8)
    out = block(tokens)
    assert torch.equal(out, tokens)
    out.square().sum().backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in block.parameters())


def test_attention_looks_at_all_places_and_does_not_know_their_order() -> None:
    torch.manual_seed(0)
    block, tokens = Attention(8, heads=2).eval(), torch.randn(1, 5, 8)
    nn.init.normal_(block.leave.weight)
    order = [3, 0, 4, 1, 2]
    torch.testing.assert_close(block(tokens)[:, order], block(tokens[:, order]))
    changed = tokens.clone()
    changed[:, 4] = torch.tensor([3.0, -3.0] * 4)  # the norm takes away what all channels have in common
    assert (block(changed) != block(tokens)).any(dim=2).all()


@pytest.mark.parametrize(("side", "stride"), [(4, 1), (32, 1), (64, 1), (96, 2), (224, 5)])
@pytest.mark.parametrize("name", NETWORKS)
def test_large_images_are_made_small_by_the_first_convolution(name: str, side: int, stride: int) -> None:
    network = build_network(name, (3, side, side), 10, seed=0).eval()
    assert next(m for m in network.modules() if isinstance(m, nn.Conv2d)).stride == (stride, stride)
    with torch.inference_mode():
        assert network(torch.rand(1, 3, side, side)).shape == (1, 10)


@pytest.mark.parametrize(
    ("name", "shape", "n_classes", "complaint"),
    [
        ("vgg", (3, 32, 32), 10, "no architecture 'vgg'; choose from conv4, flat, resnet8, resnet9, resnet18"),
        ("conv4", (3, 3, 32), 10, "need 4x4 pixels"),
        ("flat", (0, 8, 8), 10, "need 4x4 pixels"),
        ("resnet8", (3, 8, 8), 1, "two classes"),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, shape: ImageShape, n_classes: int, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        build_network(name, shape, n_classes, seed=0)


def _weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])
