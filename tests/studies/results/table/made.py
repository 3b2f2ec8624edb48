"""Made-up lines of results, and files of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from studies.scan.canonical import digest
from studies.study.result_line import ResultLine

SIZES = ("1x1", "2x2", "3x3")

ORACLE: dict[str, Any] = {"label_only": False, "top_k": None}


def config(budget: int = 300_000, kind: str = "B3DConfig", **search: Any) -> dict[str, Any]:
    return {"budget": budget, "oracle": ORACLE, "seed": 0, "search": {"kind": kind, "steps": 120} | search}


def line(index: int, verdict: str = "clean", **changes: Any) -> ResultLine:
    """About victim `index`: the even ones are clean, the target class of the others is 1."""
    clean = index % 2 == 0
    told: dict[str, Any] = {
        **{"zoo": "small", "split": "report", "index": index, "model_hash": f"model {index}", "detector": "probe"},
        **{"config": config(), "data_hash": "images", "environment": {"threads": 1}},
        **{"truth": "clean" if clean else "backdoored", "stratum": "clean" if clean else SIZES[index // 2 % 3]},
        **{"attack": None if clean else "badnets", "architecture": ("conv4", "flat")[index // 2 % 2]},
        **{"target_classes": () if clean else (1,), "clean_accuracy": 0.7 + index / 1000},
        **{"implant_success": None if clean else 0.9 + index / 1000, "verdict": verdict, "stopped": "decided"},
        **{"flagged": (1,) if verdict == "backdoored" else (), "score": float(verdict == "backdoored")},
        **{"queries": 1000 * (index + 1), "seconds": 2.0},
    }
    told |= changes
    told.setdefault("config_hash", digest(told["config"]))
    return ResultLine(**told)


def lines(verdicts: Sequence[str], **changes: Any) -> list[ResultLine]:
    """One a victim: `b` for backdoored, `c` clean, `u` undecided, `i` invalid."""
    names = {"b": "backdoored", "c": "clean", "u": "undecided", "i": "invalid"}
    return [line(index, names[verdict], **changes) for index, verdict in enumerate(verdicts)]


def write(file: Path, told: Iterable[ResultLine]) -> Path:
    file.write_text("".join(f"{one.model_dump_json()}\n" for one in told), encoding="utf-8")
    return file
