"""The weights inside a training checkpoint, under the names that their architecture gives them.

Training scripts nest a state_dict under a key of their own, and wrappers put a prefix before every name: DataParallel
`module.`, torch.compile `_orig_mod.`, Lightning the name of an attribute. `torch.optim.swa_utils.AveragedModel` adds a
counter, and torch before 0.4.1 kept none in batch norms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import torch

from oracles.errors import ModelError
from oracles.model_files.description import SAVE_INSTEAD

Weights: TypeAlias = dict[str, torch.Tensor]

_NESTED = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params"),
    *("ema_state_dict", "model_ema", "ema"),
)
"""Keys that hold the weights of a checkpoint; where there are several, the first of these counts."""

_COUNTER = "n_averaged"
_BATCHES = "num_batches_tracked"
_DEEPEST = 4
_SHOWN = 3


def weights_in(path: Path, stored: object) -> tuple[Weights, str]:
    """The state_dict itself, or the one inside a checkpoint, and a note where the checkpoint has several.

    Raises ModelError that lists the keys that are there.
    """
    others: list[str] = []
    for key, inner, beside in _levels(stored):
        others += [str(name) for name, value in beside.items() if _holds_weights(value)]
        if _are_weights(inner):
            found = {str(name): value for name, value in inner.items() if isinstance(value, torch.Tensor)}
            return found, _chosen(key, others)
    kind = type(stored).__name__
    if not isinstance(stored, Mapping):
        raise ModelError(f"{path} holds a {kind}, not a state_dict of named tensors; {SAVE_INSTEAD}")
    raise ModelError(
        f"{path} holds a {kind}, not a state_dict of named tensors, and has none under {', '.join(_NESTED[:5])}; its "
        f"keys are {shortened(list(map(str, stored)))}; {SAVE_INSTEAD}"
    )


def named_for(weights: Weights, wanted: Mapping[str, torch.Tensor]) -> Weights:
    """The weights without the prefix that all their names share, if only so they are names of `wanted`.

    Batch counters that a checkpoint lacks are zero; evaluation does not use them. An average's counter is left out.
    """
    if not any(_is_counter(name) for name in wanted):
        weights = {name: tensor for name, tensor in weights.items() if not _is_counter(name)}
    for prefix in _shared_prefixes(list(weights)):
        named = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
        if named.keys() & wanted.keys():
            counters = {
                name: torch.zeros(tensor.shape, dtype=tensor.dtype)
                for name, tensor in wanted.items()
                if name.rpartition(".")[2] == _BATCHES
            }
            return counters | named
    return weights


def nearest(weights: Weights, candidates: Mapping[str, Mapping[str, torch.Tensor]]) -> str | None:
    """The name of the candidate that has most of these weights by name and shape, None where none has half of them."""

    def matching(name: str) -> int:
        named = named_for(weights, candidates[name])
        return sum(key in named and named[key].shape == tensor.shape for key, tensor in candidates[name].items())

    best = max(candidates, key=matching, default=None)
    return best if best is not None and 2 * matching(best) >= len(weights) else None


def shortened(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + more


def _levels(stored: object) -> Iterator[tuple[str, Mapping[object, object], Mapping[object, object]]]:
    """The mapping itself, and those inside it, outermost first: each with its keys and with what lies beside it."""
    path = ""
    beside: Mapping[object, object] = {}
    for _ in range(_DEEPEST):
        if not isinstance(stored, Mapping):
            return
        yield path, stored, beside
        key = next((key for key in _NESTED if isinstance(stored.get(key), Mapping)), None)
        if key is None:
            return
        path = f"{path}.{key}" if path else key
        beside = {name: value for name, value in stored.items() if name != key}
        stored = stored[key]


def _are_weights(stored: object) -> bool:
    """Whether this is a mapping of nothing but tensors."""
    return isinstance(stored, Mapping) and bool(stored) and all(isinstance(v, torch.Tensor) for v in stored.values())


def _holds_weights(stored: object) -> bool:
    return any(_are_weights(inner) for _, inner, _ in _levels(stored))


def _chosen(key: str, others: list[str]) -> str:
    """What a result says of a checkpoint with several sets of weights; empty for one with a single set."""
    if not others:
        return ""
    return (
        f"the checkpoint holds several sets of weights: those under {key} are used, those under {shortened(others)} "
        "are not; to scan others, save them alone"
    )


def _is_counter(name: str) -> bool:
    return name.rpartition(".")[2] == _COUNTER


def _shared_prefixes(names: list[str]) -> Iterator[str]:
    """None, and then each dotted prefix that all names share, shortest first."""
    prefix = ""
    while True:
        yield prefix
        head, dot, _ = names[0].removeprefix(prefix).partition(".") if names else ("", "", "")
        prefix += head + dot
        if not dot or not all(name.startswith(prefix) for name in names):
            return
