"""Makes a private, faster copy of a torch model, which runs the same Python code and hooks on the same images."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode

from oracles.errors import ModelError, one_line

Forward = Callable[[torch.Tensor], torch.Tensor]

# Operators of a TorchScript graph whose result may depend on the memory layout of a tensor.
_LAYOUT_BOUND = ("aten::view", "aten::as_strided", "aten::stride", "aten::is_contiguous")


def _nothing() -> None:
    """Nothing runs anywhere else."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A private copy of a model in eval mode.

    layout: the memory format that images should have. eager: the model runs as Python, not as TorchScript. parallel:
    several threads may call it at once. dtype: of the images. stop: ends what a call that was given up left running.
    """

    module: nn.Module
    layout: torch.memory_format
    eager: bool
    parallel: bool
    dtype: torch.dtype = torch.float32
    stop: Callable[[], object] = _nothing

    def __call__(self, images: torch.Tensor) -> object:
        """What the model returns, computed without gradients."""
        with torch.inference_mode(), _ViewsMayCopy() if self.eager else contextlib.nullcontext():
            return self.module(images)


class RunsElsewhere(nn.Module):
    """Stands for a model in another process, where `prepare` and `as_it_is` are called for it."""

    rows_of_last_weight: int | None = None

    def form(self, device: torch.device, dtype: torch.dtype | None) -> Prepared:
        """See `prepare`; without a dtype, `as_it_is`."""
        raise NotImplementedError


def rows_of_last_weight(model: nn.Module) -> int | None:
    """The number of outputs of the layer that is defined last. A wrong guess shows at the first answer."""
    if isinstance(model, RunsElsewhere):
        return model.rows_of_last_weight
    weights = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    return len(weights[-1]) if weights else None


def prepare(model: nn.Module, device: torch.device, dtype: torch.dtype) -> Prepared:
    """A copy of `model` with batch norms folded, on `device` in `dtype`, channels-last where that is safe.

    The model is not traced and no image is sent through it. Raises ModelError if it cannot be copied or moved.
    """
    if isinstance(model, RunsElsewhere):
        return model.form(device, dtype)
    try:
        private = copy.deepcopy(model).eval()
        if isinstance(private, torch.jit.ScriptModule):
            return _prepared_script(private, device, dtype)
        parallel = all(_is_inert(module) for module in private.modules())
        private.to(device=device, dtype=torch.float32)
        for module in list(private.modules()):
            _fold(module, dtype)
        return Prepared(_channels_last(private.to(dtype=dtype)), torch.channels_last, True, parallel, dtype)
    except Exception as error:
        raise ModelError(f"cannot make a private copy of the model on {device}: {one_line(error)}") from error


def as_it_is(model: nn.Module, device: torch.device) -> Prepared:
    """A copy of `model` on `device` in eval mode, with its own weights, types and layout, for float32 images.

    Raises ModelError if it cannot be copied or moved.
    """
    if isinstance(model, RunsElsewhere):
        return model.form(device, None)
    try:
        with warnings.catch_warnings():
            # torch warns of gradients of TorchScript's constants, which nobody asked for
            warnings.simplefilter("ignore")
            private = copy.deepcopy(model).eval().to(device=device)
    except Exception as error:
        raise ModelError(f"cannot make a private copy of the model on {device}: {one_line(error)}") from error
    script = isinstance(private, torch.jit.ScriptModule)
    parallel = script or all(_is_inert(module) for module in private.modules())
    return Prepared(private, torch.contiguous_format, eager=False, parallel=parallel)


def _prepared_script(model: torch.jit.ScriptModule, device: torch.device, dtype: torch.dtype) -> Prepared:
    """TorchScript folds batch norms itself, and its graph shows whether channels-last is safe."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that TorchScript is to be replaced by torch.export
        model = model.to(device=device, dtype=dtype)
        with contextlib.suppress(RuntimeError):  # freeze refuses some models; they run unfrozen
            model = torch.jit.freeze(model)
    graph = str(model.inlined_graph)
    bound = any(kind in graph for kind in _LAYOUT_BOUND)
    return Prepared(model, torch.contiguous_format if bound else torch.channels_last, False, True, dtype)


def _channels_last(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


def _fold(module: nn.Module, dtype: torch.dtype) -> None:
    """Make a plain nn.Sequential run its layers with batch norms folded.

    The children stay in place, for a parent module that indexes them instead of calling the whole.
    """
    if type(module) is not nn.Sequential or "forward" in vars(module):
        return
    layers = list(_folded(list(module), dtype))
    if len(layers) < len(module):
        module.__dict__["forward"] = _chain(layers)


def _folded(layers: list[nn.Module], dtype: torch.dtype) -> Iterator[nn.Module]:
    at = 0
    while at < len(layers):
        layer, after = layers[at], layers[at + 1] if at + 1 < len(layers) else None
        if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d) and _foldable(layer, after):
            yield _channels_last(fuse_conv_bn_eval(layer, after).to(dtype=dtype))
            at += 2
            if at < len(layers) and type(layers[at]) is nn.ReLU and not _observed(layers[at]):
                yield nn.ReLU(inplace=True)  # its input is used nowhere else; allocating costs more than computing
                at += 1
        else:
            yield layer
            at += 1


def _foldable(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    plain = type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and not norm.training
    fits = norm.running_mean is not None and norm.num_features == conv.out_channels
    return plain and fits and not _observed(conv) and not _observed(norm)


def _observed(module: nn.Module) -> bool:
    """Whether calling this module runs anything besides its class's forward."""
    own = vars(module)
    return "forward" in own or any(own.get(name) for name in ("_forward_hooks", "_forward_pre_hooks"))


def _is_inert(module: nn.Module) -> bool:
    """Whether threads may share this module: it is torch's own code without hooks, or its class says `thread_safe`."""
    kind = type(module)
    return not _observed(module) and (kind.__module__.startswith("torch.nn.") or getattr(kind, "thread_safe", False))


def _chain(layers: list[nn.Module]) -> Forward:
    def forward(x: torch.Tensor) -> torch.Tensor:
        for layer in layers:
            x = layer(x)
        return x

    return forward


class _ViewsMayCopy(TorchFunctionMode):
    """Lets code that was written for contiguous tensors call `view` on channels-last ones.

    Where the layout forbids the view, the tensor itself is made contiguous first, so that both still share memory.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        try:
            return func(*args, **(kwargs or {}))
        except RuntimeError as error:
            if func not in (torch.Tensor.view, torch.Tensor.view_as) or "not compatible with input" not in str(error):
                raise
        args[0].set_(args[0].contiguous())
        return func(*args, **(kwargs or {}))
