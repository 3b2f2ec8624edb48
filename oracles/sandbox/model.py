"""A model file that is opened and run in a child process, as a module that `TorchOracle` takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from oracles.errors import ModelError, one_line
from oracles.fold import Prepared, RunsElsewhere
from oracles.model_files.kinds import Graph, Kind
from oracles.outside import OutsideFile
from oracles.sandbox.process import Child, memory_cap
from oracles.sandbox.wire import Ended, packed, unpacked, unpacked_all

_FAILED = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)
_ERRORS = {kind.__name__: kind for kind in _FAILED}


class SandboxedModel(RunsElsewhere):
    """A model in a child process. It takes no images itself: `TorchOracle` prepares it first. Copies share the process.

    sha256: of the file, hexadecimal, which tells such models apart.
    """

    thread_safe = True

    def __init__(self, child: Child, sha256: str, rows_of_last_weight: int | None) -> None:
        super().__init__()
        self._child = child
        self.sha256, self.rows_of_last_weight = sha256, rows_of_last_weight

    @property
    def missing(self) -> tuple[str, ...]:
        """The restrictions that the process has to do without, in words."""
        return self._child.missing

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._child.pid

    def __deepcopy__(self, memo: object) -> SandboxedModel:
        return self

    def form(self, device: torch.device, dtype: torch.dtype | None) -> Prepared:
        """A form of the model in the child. Raises ModelError, also for a device that the child cannot open."""
        if device.type != "cpu":
            raise ModelError(
                f"the process that runs a model file with a program in it cannot open {device}; give device cpu, or "
                "trust the file: --trust-model, trust_model=True"
            )
        name = "as it is" if dtype is None else str(dtype).removeprefix("torch.")
        told, _ = _asked(self._child, {"do": "prepare", "form": name})
        eager, parallel = told.get("eager") is True, told.get("parallel") is True
        layout, dtype = (
            torch.contiguous_format,
            dtype or torch.float32,
        )  # the child puts them into the form's own layout
        return Prepared(_Answering(self._child, name), layout, eager, parallel, dtype, self._child.stop)


class _Answering(nn.Module):
    """Sends images, and returns what a form of the model in the child answers."""

    def __init__(self, child: Child, form: str) -> None:
        super().__init__()
        self._child, self._form = child, form

    def forward(self, images: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        header, values = packed(images)
        told, answer = _asked(self._child, {"do": "run", "form": self._form} | header, values)
        if "type" in told:
            raise ModelError(
                f"the model answers a {_text(told['type'])}; wrap it so that it returns one tensor (N, classes)"
            )
        try:
            if "tensors" in told:
                return {_text(name): tensor for name, tensor in unpacked_all(told, answer).items()}
            return unpacked(told, answer)
        except Ended as error:
            raise ModelError(f"the process of the model does not answer as it should: {error}") from None


def open_sandboxed(file: OutsideFile, kind: Kind) -> Graph:
    """The model in a file of this kind, opened in a child process.

    Raises ModelError as the reader of that kind, and if the process ends.
    """
    path, child = file.path, Child(str(file.path), kind, memory_cap())
    try:
        told, _ = _asked(child, {"do": "open", "path": str(path)}, file.data)
    except _FAILED as error:
        raise ModelError(f"{path} cannot be opened: {one_line(error)}") from error
    try:
        shape, numbers = told["image_shape"], [_count(told[key]) for key in ("n_classes", "batch", "rows")]
        image_shape = None if shape is None else (int(shape[0]), int(shape[1]), int(shape[2]))
        libraries = {_text(library): _text(version) for library, version in told["libraries"].items()}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelError(f"{path}: the process of the model does not answer as it should") from error
    n_classes, batch, rows = numbers
    module, takes_bytes = SandboxedModel(child, file.sha256, rows), told.get("takes_bytes") is True
    return Graph(module, image_shape, n_classes, batch, libraries, takes_bytes)


def _asked(
    child: Child, header: Mapping[str, Any], payload: bytes | memoryview = b""
) -> tuple[dict[str, Any], bytearray]:
    told, answer = child.ask(header, payload)
    if "error" not in told:
        return told, answer
    message = _text(told.get("message"))
    if told.get("ours") is True:
        raise ModelError(message)
    name = _text(told["error"])
    raise _ERRORS[name](message) if name in _ERRORS else RuntimeError(f"{name}: {message}")


def _count(value: Any) -> int | None:
    return None if value is None else int(value)


def _text(value: object) -> str:
    """Text of a stranger that may go to a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in str(value))
