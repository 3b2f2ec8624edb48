"""Counts of a service for Prometheus, in a registry of its own. No key stands in them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """What a service has done since it started. Safe to share among threads.

    Labels are formats, names of models that there are, and kinds of problems: never what a caller chose.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self._replies = Counter(
            "simkit_replies",
            "Replies; outcome is `answered`, `replayed` or the kind of the refusal.",
            ("format", "model", "outcome"),
            registry=self._registry,
        )
        self._charged = Counter(
            "simkit_queries_charged", "Images answered and charged.", ("model",), registry=self._registry
        )
        self._seconds = Histogram(
            "simkit_reply_seconds",
            "Seconds from the request's head to the reply, with the time that the caller took to send.",
            ("format",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.running = Gauge("simkit_calls_running", "Calls being answered now.", registry=self._registry)

    def replied(self, wire: str, model: str, outcome: str, seconds: float) -> None:
        """Count one reply. model: empty where the request named none that there is."""
        self._replies.labels(wire, model, outcome).inc()
        self._seconds.labels(wire).observe(seconds)

    def charged(self, model: str, queries: int) -> None:
        """Count queries that were charged."""
        self._charged.labels(model).inc(queries)

    def text(self) -> bytes:
        """All counts, in the text format of Prometheus."""
        return generate_latest(self._registry)
