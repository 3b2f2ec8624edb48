"""The comparison with other people's servers: how many times as fast, and what stands for one that is not there."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from benchmarks import other_servers, service, service_others
from benchmarks.service import Server


def test_each_server_is_compared_with_simkit_of_the_same_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([1, 1, 1, 1.0, 2.0, 4.0, 1.0, 2.0, 8.0, 1.0, 2.0, 2.0])  # the first round is not counted

    def installed(server: Any, *_: Any) -> dict[str, str]:
        if server.program == "triton_model.py":
            return {"nvidia-pytriton": "0.7.0"}
        raise FileNotFoundError("no such package")

    monkeypatch.setattr(service, "server", lambda *_: nullcontext(Server(1, 2, "key")))
    monkeypatch.setattr(service, "served", lambda *_: (10, next(seconds)))
    monkeypatch.setattr(other_servers, "installed", installed)
    monkeypatch.setattr(other_servers, "serving", lambda *_: nullcontext((1, 2)))
    service_others.main(turns=3, out=tmp_path / "lines.jsonl")
    lines: list[dict[str, Any]] = [json.loads(text) for text in (tmp_path / "lines.jsonl").read_text().splitlines()]
    known = [(line["server"], line["served"], line["simkit_binary"], line["simkit_json"]) for line in lines[:3]]
    assert known == [("simkit", 160, 1.0, 0.5), ("simkit", 80, 2.0, 1.0), ("nvidia-pytriton 0.7.0", 40, 4.0, 2.0)]
    assert [line["why"] for line in lines[3:]] == ["no such package", "no such package"]
    assert "nvidia-pytriton 0.7.0" in capsys.readouterr().out
