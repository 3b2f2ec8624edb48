"""Made-up lines of results."""

from __future__ import annotations

from typing import Any

from studies.result_line import ResultLine


def result_line(**changes: Any) -> ResultLine:
    """A right verdict on a backdoored victim of the zoo `made-up`, but for the changes."""
    fields: dict[str, Any] = {
        **{"zoo": "made-up", "split": "report", "index": 0, "model_hash": "a" * 64, "detector": "efficient"},
        **{"config_hash": "b" * 64, "config": {"budget": 1000}, "data_hash": "c" * 64, "environment": {"threads": 1}},
        **{"truth": "backdoored", "stratum": "2x2", "attack": "badnets", "architecture": "conv4"},
        **{"target_classes": (3,), "clean_accuracy": 0.9, "implant_success": 1.0, "verdict": "backdoored"},
        **{"stopped": "decided", "flagged": (3,), "score": 2.0, "queries": 1000, "seconds": 1.5},
    }
    return ResultLine(**(fields | changes))
