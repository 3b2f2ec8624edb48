"""The same victim in every format gives the same verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import formats
from simkit.zoo.spec import ZooSpec
from simkit.zoo.zoo import make
from studies.cli.model_writers import WRITERS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("zoo")
    spec = {"name": "tiny", "data": "digits", "split": "tune", "models": 1, "clean_share": 1.0}
    make(ZooSpec.of(spec | {"train": {"epochs": 1, "train_images": 200}}), folder)
    return f"{folder}:0"


@pytest.mark.process
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_every_format_gives_the_same_verdict(
    victim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(WRITERS, "ONNX")  # its exporter takes seconds; tests of onnx_files read one
    out = tmp_path / "results" / "formats.jsonl"
    formats.main(victim, data="digits", budget=2_000, rounds=1, out=out)
    (line,) = map(json.loads, out.read_text().splitlines())
    assert line["same"]
    assert [row["format"] for row in line["formats"]] == ["nn.Module", "TorchScript", "torch.export", "callable"]
    assert len({(row["verdict"], row["queries"], tuple(row["flagged"])) for row in line["formats"]}) == 1
    assert all(row["gap"] < 1e-5 and row["speed"] > 0 for row in line["formats"])
    assert "the same verdict and target class" in capsys.readouterr().out
