"""A handful of networks, in the formats that take a moment to write: all are opened and give the module's answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from torch import nn

from benchmarks import model_zoo_formats as formats

pytestmark = [
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

HANDFUL = ["torchvision:squeezenet1_0", "timm:lcnet_035"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(formats.WRITERS, "onnx")  # its exporter takes seconds
    monkeypatch.setattr(formats, "COLUMNS", ("network", "trace", "script", "export"))
    monkeypatch.setattr(formats, "SIDES", dict.fromkeys(HANDFUL, 64))


def test_networks_are_opened_and_agree(tmp_path: Path) -> None:
    out = tmp_path / "formats.jsonl"
    formats.main(HANDFUL[:1], out)
    formats.main(HANDFUL, out)
    lines = [json.loads(text) for text in out.read_text().splitlines()]
    assert [line["network"] for line in lines] == HANDFUL, "the first is not done twice"
    assert all(line[name]["gap"] < 1e-5 for line in lines for name in ("trace", "script", "export"))


def test_what_is_not_opened_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def write_other(module: nn.Module, images: object, path: Path) -> None:
        path.write_bytes(b"PK\x03\x04")

    monkeypatch.setitem(formats.WRITERS, "script", (".pt", write_other))
    with pytest.raises(typer.Exit):
        formats.main(HANDFUL[1:])
