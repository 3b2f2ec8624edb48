"""The comparison with other people's servers: what makes it fail, and what only stands in its line."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks import other_servers
from oracles.errors import ModelError

HERE = {"verdict": "backdoored", "flagged": [9], "queries": 774}


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Compares one server, whose scan finds what is given, without a server; returns the line."""

    def compare(there: dict[str, Any], installs: bool = True) -> Any:
        def scanned(model: Any, ledger: Path) -> dict[str, Any]:
            return {"found": HERE, "calls": {}} if isinstance(model, Path) else {"found": there, "calls": {"failed": 1}}

        def installed(*_: Any) -> dict[str, str]:
            if not installs:
                raise FileNotFoundError("no such package")
            return {"kserve": "0.21.0"}

        monkeypatch.setattr(other_servers, "victims", lambda folder: [folder / "backdoored.onnx"])
        monkeypatch.setattr(other_servers, "serving", lambda *_: nullcontext((1, 1)))
        monkeypatch.setattr(other_servers, "scanned", scanned)
        monkeypatch.setattr(other_servers, "installed", installed)
        other_servers.main(["kserve"], out=tmp_path / "results" / "servers.jsonl")

    return compare


def line(folder: Path) -> Any:
    (text,) = (folder / "results" / "servers.jsonl").read_text().splitlines()
    return json.loads(text)


def test_the_same_verdict_class_and_queries_are_the_same(compared: Any, tmp_path: Path) -> None:
    compared(dict(HERE))
    assert line(tmp_path)["same"]
    assert line(tmp_path)["victims"] == [{"victim": "backdoored", **HERE, "calls": {"failed": 1}, "in_process": HERE}]


@pytest.mark.parametrize("changed", [{"verdict": "clean"}, {"flagged": [8]}, {"queries": 775}])
def test_whatever_differs_is_a_failure(compared: Any, tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(typer.Exit):
        compared(HERE | changed)
    assert not line(tmp_path)["same"]


def test_a_server_that_is_not_there_says_why(compared: Any, tmp_path: Path) -> None:
    compared(HERE, installs=False)
    assert (line(tmp_path)["why"], line(tmp_path)["same"]) == ("no such package", False)


@pytest.mark.process
def test_a_server_that_does_not_start_is_told_with_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("#!/bin/sh\necho the port is taken\nexit 1\n")
    (tmp_path / "bin" / "python").chmod(0o755)
    with (
        pytest.raises(ModelError, match="did not start: the port is taken"),
        other_servers.serving(other_servers.SERVERS["kserve"], tmp_path, tmp_path / "m.onnx"),
    ):
        pass
