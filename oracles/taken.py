"""Images as a model takes them: pixels in [0, 1] or bytes, (N, C, H, W) or (N, H, W, C)."""

from __future__ import annotations

import torch

from oracles.torch_options import TorchOptions


def as_taken(
    images: torch.Tensor, options: TorchOptions, layout: torch.memory_format = torch.contiguous_format
) -> torch.Tensor:
    """Images (N, C, H, W), with pixels in [0, 1] where the model takes bytes, as the options say.

    layout: of the result's memory, where axes are moved.
    """
    if options.input_dtype == "uint8":
        images = images.mul(255.0).round_().to(torch.uint8)
    if options.input_layout == "nhwc":
        images = images.permute(0, 2, 3, 1).contiguous(memory_format=layout)
    return images
