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

HANDFUL = {"torchvision": "torchvision:squeezenet1_0", "timm": "timm:lcnet_035"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(formats.WRITERS, "onnx")  # its exporter takes seconds
    monkeypatch.setattr(formats, "COLUMNS", ("network", "trace", "script", "export"))
    monkeypatch.setattr(formats, "SIDES", dict.fromkeys(HANDFUL.values(), 64))


@pytest.mark.parametrize("library", HANDFUL)
def test_networks_are_opened_and_agree(library: str, tmp_path: Path) -> None:
    pytest.importorskip(library, reason=f"no {library}: pip install {library}")
    out, network = tmp_path / "formats.jsonl", HANDFUL[library]
    formats.main([network], out)
    formats.main([network], out)
    (line,) = map(json.loads, out.read_text().splitlines())  # what is done is not done twice
    assert line["network"] == network
    assert all(line[name]["gap"] < 1e-5 for name in ("trace", "script", "export"))


def test_what_is_not_opened_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchvision", reason="no torchvision: pip install torchvision")

    def write_other(module: nn.Module, images: object, path: Path) -> None:
        path.write_bytes(b"PK\x03\x04")

    monkeypatch.setitem(formats.WRITERS, "script", (".pt", write_other))
    with pytest.raises(typer.Exit):
        formats.main([HANDFUL["torchvision"]])
