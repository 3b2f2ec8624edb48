"""The benchmark over a zoo: what it keeps, how it goes on, and what it says of its lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scan_zoo
from simkit.zoo.manifest import Manifest
from simkit.zoo.spec import ZooSpec
from simkit.zoo.zoo import make

SPEC: dict[str, Any] = {"name": "tiny", "data": "digits", "split": "tune", "models": 2, "clean_share": 1.0}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    make(ZooSpec.of(SPEC | {"train": {"epochs": 1, "train_images": 200}}), folder)
    return folder


def scan(zoo: Path, out: Path) -> None:
    scan_zoo.main(zoo, data="digits", out=out, budget=100, preset="random-patch")


def row(truth: str, verdict: str, flagged: list[int], target: int | None = 3) -> dict[str, Any]:
    found = {
        "truth": truth,
        "verdict": verdict,
        "flagged": flagged,
        "target_classes": [] if target is None else [target],
    }
    return found | {"right": truth == verdict, "queries": 1_000, "seconds": 2.0}


def test_a_finished_line_is_not_scanned_again_and_a_torn_one_is(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results" / "tiny.jsonl"
    scan(zoo, out)
    lines = out.read_text().splitlines(keepends=True)
    assert len(lines) == 2
    assert {"data_hash", "torch", "threads"} <= json.loads(lines[0]).keys()
    for torn in (lines[1][:40], lines[1][:-1]):
        out.write_text(lines[0] + torn)
        scan(zoo, out)
        assert out.read_text().startswith(lines[0])
        assert [line["index"] for line in scan_zoo.read_lines(out)] == [0, 1]
    with monkeypatch.context() as patched:
        patched.setattr(scan_zoo, "run_scan", lambda *_: pytest.fail("scanned again"))
        scan(zoo, out)


def test_other_images_make_another_line(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "tiny.jsonl"
    scan(zoo, out)
    monkeypatch.setattr(scan_zoo, "hash_of", lambda _: "other")
    scan(zoo, out)
    assert [line["index"] for line in scan_zoo.read_lines(out)] == [0, 1, 0, 1]


def test_what_the_lines_say() -> None:
    rows = [
        row("backdoored", "backdoored", [3]),
        row("backdoored", "backdoored", [3, 5]),
        row("backdoored", "backdoored", [5]),
        row("backdoored", "clean", []),
        row("clean", "backdoored", [1], None),
    ]
    told = scan_zoo.summary(rows)
    assert told[0].startswith("3 of 5 verdicts right (Wilson 95 %: 23% to 88%)")
    assert told[1] == "2 of 3 detections flag the target class, 1 of them no other"
    assert told[2] == "5,000 queries in 10 s"
    assert scan_zoo.summary([]) == ["no victims"]


def test_failed_implants_are_counted_by_stratum(zoo: Path) -> None:
    manifest = Manifest.load(zoo)
    assert scan_zoo.failures(manifest) == "0 implants failed of 0 made"
    one = manifest.victims[0].model_copy(update={"truth": "backdoored", "stratum": "1x1", "implanted": True})
    lost = [one.model_copy(update={"stratum": stratum, "implanted": False}) for stratum in ("2x2", "1x1", "1x1")]
    told = scan_zoo.failures(manifest.model_copy(update={"victims": (one,), "failed": tuple(lost)}))
    assert told == "3 implants failed of 4 made: 1x1 2, 2x2 1"
