"""The wire formats by their names; a module is loaded only when its format is asked for."""

from __future__ import annotations

from importlib import import_module

from oracles.errors import InvalidSpec, likely
from oracles.wire.contract import Wire

_FORMATS = {
    "oip": ("oip", "OpenInference"),
    "hf": ("huggingface", "HuggingFace"),
    "rekognition": ("rekognition", "Rekognition"),
    "customvision": ("custom_vision", "CustomVision"),
    "vertex": ("vertex", "Vertex"),
    "clarifai": ("clarifai", "Clarifai"),
}

NAMES: tuple[str, ...] = tuple(_FORMATS)
"""Formats with both sides; `template`, which only callers have, is loaded by `oracles.wire.template.load`."""


def wire(name: str) -> Wire:
    """The format of a name. Raises InvalidSpec on an unknown one."""
    if name not in _FORMATS:
        raise InvalidSpec(f"unknown wire format {name!r}{likely(name, NAMES)}")
    module, kind = _FORMATS[name]
    found: Wire = getattr(import_module(f"oracles.wire.{module}"), kind)()
    return found
