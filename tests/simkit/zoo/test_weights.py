"""The weights' file: the same bytes each time, and nothing of the truth in it."""

from __future__ import annotations

import json

import torch
from safetensors.torch import load

from simkit.zoo.networks import NETWORKS, build_network
from simkit.zoo.weights import to_bytes

SHAPE = (3, 8, 8)


def test_equal_weights_give_equal_bytes_whatever_their_memory_layout() -> None:
    model = build_network("conv4", SHAPE, 10, 0)
    files = {to_bytes(model, "conv4", SHAPE, 10) for _ in range(10)}  # the library alone shuffles the metadata
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
    assert files == {to_bytes(model, "conv4", SHAPE, 10)}
    assert files != {to_bytes(build_network("conv4", SHAPE, 10, 1), "conv4", SHAPE, 10)}


def test_every_network_comes_back_as_it_was() -> None:
    for name, builder in NETWORKS.items():
        model = build_network(name, SHAPE, 10, 0)
        again = builder(SHAPE, 10)
        again.load_state_dict(load(to_bytes(model, name, SHAPE, 10)))
        assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict().items())


def test_the_metadata_tells_how_to_build_it_and_no_more() -> None:
    data = to_bytes(build_network("flat", SHAPE, 7, 0), "flat", SHAPE, 7)
    size = int.from_bytes(data[:8], "little")
    assert size % 8 == 0
    metadata = json.loads(data[8 : 8 + size])["__metadata__"]
    assert metadata == {"architecture": "flat", "image_shape": "[3, 8, 8]", "n_classes": "7", "output": "logits"}
