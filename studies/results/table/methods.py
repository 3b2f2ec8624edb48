"""The methods in result lines, with labels that are unique on every zoo."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studies.ledgers.run_words import service_in_words
from studies.render.formats import number
from studies.results.table.changed import changed
from studies.results.table.records import Key, Method
from studies.study.result_line import ResultLine

_HASH_SHOWN = 8
"""Number of characters of a hash in a label."""


def key_of(line: ResultLine) -> Key:
    """The method that made a line."""
    return line.detector, line.config_hash


def methods(lines: Sequence[ResultLine], titles: Mapping[str, str]) -> dict[Key, Method]:
    """Every method by its key, in the order of `titles`, then in the order of the lines.

    titles: the titles of detectors by name; a detector without a title is called by its name.
    """
    firsts: dict[Key, ResultLine] = {}
    zoos: dict[str, set[Key]] = defaultdict(set)
    for line in lines:
        firsts.setdefault(key_of(line), line)
        zoos[line.zoo].add(key_of(line))
    ranks = {name: rank for rank, name in enumerate(titles)}
    firsts = dict(sorted(firsts.items(), key=lambda item: ranks.get(item[1].detector, len(ranks))))
    forms = {key: _forms(line, titles.get(line.detector, line.detector)) for key, line in firsts.items()}
    listed = changed(firsts)
    return {
        key: Method(_label(key, forms, zoos.values()), *key, _service(line), _budget(line), listed[key])
        for key, line in firsts.items()
    }


def _forms(line: ResultLine, title: str) -> tuple[str, ...]:
    """The possible labels of a method, shortest first; repetitions of a method are distinguished by their seed."""
    short = ", ".join(filter(None, (title, _service(line).removeprefix("scores"))))
    budget = _budget(line)
    longer = short if budget is None else f"{short}, {number(budget)} queries"
    seed = f", seed {line.config.get('seed')}"
    return short, longer, short + seed, longer + seed, f"{longer}, #{line.config_hash[:_HASH_SHOWN]}"


def _label(key: Key, forms: Mapping[Key, Sequence[str]], zoos: Iterable[set[Key]]) -> str:
    """The shortest form that no other method has on a zoo where this one was used; the longest where all clash."""
    beside = set().union(*(keys for keys in zoos if key in keys)) - {key}
    for turn, form in enumerate(forms[key]):
        if all(forms[other][turn] != form for other in beside):
            return form
    return forms[key][-1]


def service_rank(line: ResultLine) -> tuple[int, ...]:
    """The place of a line's service, lower is more informative: all scores, top-k, labels; white-box detectors last."""
    stated = line.config.get("oracle")
    oracle: Mapping[str, Any] = stated if isinstance(stated, Mapping) else {}
    top_k, most = oracle.get("top_k"), 10**6  # more than any number of classes
    known = top_k if isinstance(top_k, int) and top_k > 0 else most
    return int(not line.asks), int(bool(oracle.get("label_only"))), -known


def _service(line: ResultLine) -> str:
    oracle = line.config.get("oracle")
    return service_in_words(oracle) if line.asks and isinstance(oracle, dict) else ""


def _budget(line: ResultLine) -> int | None:
    budget = line.config.get("budget")
    return budget if line.asks and isinstance(budget, int) else None
