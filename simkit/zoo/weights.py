"""A victim's weights as bytes that depend only on the weights."""

from __future__ import annotations

import json

from safetensors.torch import save
from torch import nn

from simkit.data.images import ImageShape


def to_bytes(model: nn.Module, architecture: str, image_shape: ImageShape, n_classes: int) -> bytes:
    """The model's state as safetensors, with what is needed to rebuild it, and without the ground truth."""
    state = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    metadata = {
        "architecture": architecture,
        "image_shape": json.dumps(image_shape),
        "n_classes": str(n_classes),
        "output": "logits",
    }
    return _sorted_header(save(state, metadata))


def _sorted_header(data: bytes) -> bytes:
    """The same file with sorted keys in its header, since the library writes the metadata in random order."""
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]
