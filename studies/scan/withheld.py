"""What a service withholds from an answer or changes in it, which decides whether a measurement speaks about it."""

from __future__ import annotations

from typing import Any

from oracles.spec import OracleSpec

_CHANGES_NO_ANSWER = {
    *("seed", "price_per_thousand", "currency", "seconds_per_call", "seconds_per_query", "real_time"),
    *("rate_limit", "rate_burst", "rate_policy"),
}


def withheld(spec: OracleSpec) -> dict[str, Any]:
    """The settings of a spec that change an answer and differ from their defaults, as plain values."""
    return spec.model_dump(mode="json", exclude=_CHANGES_NO_ANSWER, exclude_defaults=True)


def answers_of(spec: OracleSpec) -> str | None:
    """`scores` or `labels`, where nothing else is withheld or changed."""
    kept = withheld(spec)
    kept.pop("label_only", None)
    return None if kept else "labels" if spec.label_only else "scores"
