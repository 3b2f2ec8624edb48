"""The benchmark of the process that model files run in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import sandbox


@pytest.mark.process
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_both_ways_answer_the_same_and_their_cost_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sandbox.WRITERS, "ONNX")  # its exporter takes seconds
    monkeypatch.delitem(sandbox.WRITERS, "TorchScript")
    out = tmp_path / "results" / "sandbox.jsonl"
    sandbox.main(network="flat", size=8, rounds=2, threads=1, out=out)
    (line,) = map(json.loads, out.read_text().splitlines())
    (cost,) = line["formats"]
    assert (cost["format"], cost["same"], cost["missing"]) == ("torch.export", True, "")
    assert cost["start_cpu"] > cost["here_cpu"] > 0
    assert set(cost["there"]) == set(cost["here"]) == {"1", "16", "128"}
    assert all(speed > 0 for way in ("there", "here", "cpu") for speed in cost[way].values())
    assert line["export_load"]["torch_cpu"] > 0
    assert "at_128" in capsys.readouterr().out
