"""Converts arrays of images in any common layout to pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simkit.data.images import ImageSet
from simkit.errors import DataError
from simkit.triggers import FloatArray

if TYPE_CHECKING:
    import torch


def image_axes(shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The order of axes that brings a batch into NCHW, after grey images (N, H, W) got a channel axis."""
    if len(shape) == 3:
        return (0, 1, 2, 3)
    if len(shape) != 4:
        raise DataError(f"{name}: images have shape {shape}; need (N, H, W, C), (N, C, H, W) or (N, H, W)")
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        why = "may be NHWC or NCHW" if first else "have no axis of 1 or 3 channels"
        raise DataError(f"{name}: images of shape {shape} {why}; store (N, C, H, W) or (N, H, W, C) with C of 1 or 3")
    return (0, 1, 2, 3) if first else (0, 3, 1, 2)


def to_pixels(images: NDArray[Any], name: str) -> FloatArray:
    """float32 (N, C, H, W) from uint8 0..255 or floats in [0, 1]. Raises DataError on other types and layouts."""
    axes = image_axes(images.shape, name)
    batch = np.ascontiguousarray((images[:, None] if images.ndim == 3 else images).transpose(axes))
    if batch.dtype == np.uint8:
        return from_bytes(batch)
    if not np.issubdtype(batch.dtype, np.floating):
        raise DataError(f"{name}: images are {batch.dtype}; store uint8 0..255 or floats in [0, 1]")
    floats: FloatArray = batch.astype(np.float32)
    return floats


def from_bytes(pixels: NDArray[np.uint8]) -> FloatArray:
    """8-bit pixels as float32 in [0, 1], in the same shape."""
    floats: FloatArray = pixels.astype(np.float32)
    floats /= np.float32(255.0)
    return floats


def check_bytes(images: NDArray[Any], name: str) -> None:
    """Raises DataError for uint8 images, all of them, that hold only 0 and 1, which would be read as nearly black."""
    if images.dtype == np.uint8 and images.size and images.max() == 1:
        raise DataError(
            f"{name}: the uint8 images hold only 0 and 1, and uint8 pixels are read as 0..255; store black and "
            "white as 0 and 255, or as the floats 0.0 and 1.0"
        )


def unlabelled(images: torch.Tensor | NDArray[Any]) -> ImageSet:
    """Images of unknown classes: a tensor (N, C, H, W), or an array in any layout of a `.npz` file.

    uint8 0..255 or floats in [0, 1]. Raises DataError.
    """
    import torch  # slow to import, and not needed to read a ledger

    if isinstance(images, torch.Tensor):
        given = images.detach().cpu()
        if given.dtype == torch.uint8:
            check_bytes(given.numpy(), "tensor")
            given = given.float().div_(255.0)
        return ImageSet.unlabelled(given.float().contiguous() if given.is_floating_point() else given, "tensor")
    array = np.asarray(images)
    check_bytes(array, "array")
    return ImageSet.unlabelled(to_pixels(array, "array"), "array")
