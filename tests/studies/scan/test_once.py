"""Of one scan, a model file is opened once, images are hashed once and the run key is computed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from db import reads
from db.ledger import Ledger
from oracles.decision import Decision
from oracles.torch_model import TorchOracle, taken_for
from simkit.data import ImageSet
from simkit.detectors.blackbox.label_noise import LabelNoise
from simkit.errors import ConfigError
from studies.scan import black_box, models, prepare, scan, white_box
from studies.scan.config import ScanConfig
from studies.scan.images import choose_images
from studies.scan.run import default_db, run_scan
from studies.study.detectors import method
from studies.study.unit import Unit, scan_unit
from tests.studies.scans import IMAGES, TemplateNet, scanned
from tests.studies.study.studies import study_of, units

FEW: dict[str, Any] = {"data": "digits", "search_images": 16, "verify_images": 16, "budget": 50}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a file was loaded, a set of images hashed, and a run key made."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str, what: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def counted(*args: Any, **more: Any) -> Any:
            counts[what] += 1
            return real(*args, **more)

        monkeypatch.setattr(owner, name, counted)

    count(models, "load_model", "loads")
    count(ImageSet, "sha256", "hashes")
    for module in (prepare, black_box, white_box):
        count(module, "run_info", "keys")
    return counts


ONCE = {"loads": 1, "hashes": 2, "keys": 1}
"""Hashes: of the search images and of the verification images."""


def test_a_scan_at_its_default_place(
    calls: Counter[str], demo_victims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMKIT_HOME", str(tmp_path))
    prepared = prepare.prepare(f"{demo_victims / 'zoo'}:0", ScanConfig.of({**FEW, "preset": "b3d"}))
    run_scan(prepared, default_db(prepared))
    assert calls == ONCE


def test_a_scan_that_goes_on_with_what_an_earlier_process_found_of_its_rows(
    calls: Counter[str], demo_victims: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        calls.clear()
        scan(f"{demo_victims / 'zoo'}:0", db=tmp_path / "a.db", **FEW, preset="b3d", output="auto")
        assert calls == ONCE


def test_the_rows_of_a_module_are_taken_for_what_an_earlier_process_found(tmp_path: Path) -> None:
    oracle = TorchOracle(TemplateNet(1), IMAGES.image_shape, n_classes=4)
    assert oracle.output == "auto"
    settled = taken_for(oracle, Decision("logits"))
    assert (settled.output, settled.options.output, oracle.output) == ("logits", "logits", "auto")
    np.testing.assert_array_equal(
        np.asarray(vars(settled.query(IMAGES.pixels[:3]))["values"]),
        np.asarray(vars(oracle.query(IMAGES.pixels[:3]))["values"]),
    )
    first = scanned(TemplateNet(1), budget=60, db=tmp_path / "a.db")
    assert scanned(TemplateNet(1), budget=60, db=tmp_path / "a.db").to_json() == first.to_json()


@pytest.mark.usefixtures("read_here")
def test_a_graph_that_states_its_shape_is_read_once_for_a_scan_that_makes_its_images(
    calls: Counter[str], tmp_path: Path
) -> None:
    weights = numpy_helper.from_array(np.eye(64, 10, dtype=np.float32), "w")
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    x, y = (helper.make_tensor_value_info(n, 1, s) for n, s in (("x", [8, 1, 8, 8]), ("y", [8, 10])))
    graph = helper.make_graph(nodes, "g", [x], [y], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    scan(tmp_path / "m.onnx", db=tmp_path / "a.db", preset="b3d-ss", budget=20, search_images=16, verify_images=16)
    assert calls == ONCE


def test_a_detector_in_a_ledger(calls: Counter[str], demo_victims: Path, tmp_path: Path) -> None:
    black_box.detect(LabelNoise(copies=2), f"{demo_victims / 'zoo'}:0", db=tmp_path / "a.db", **FEW)
    assert calls == ONCE


def test_a_white_box(calls: Counter[str], demo_victims: Path, tmp_path: Path) -> None:
    class Untouched:
        def detect(self, access: Any) -> Any:
            raise KeyboardInterrupt

    chosen = method("neural-cleanse-quick")
    images = choose_images(chosen.config(FEW), None)
    with Ledger.open(tmp_path / "a.db") as ledger, pytest.MonkeyPatch.context() as patch:
        patch.setattr(white_box, "described", lambda *_: {"kind": "untouched"})
        file = demo_victims / "zoo" / "0000.safetensors"
        with pytest.raises(KeyboardInterrupt):
            white_box.inspect_model(Untouched(), file, chosen.config(FEW), ledger, images)
    assert calls == ONCE


@pytest.mark.parametrize("detector", ["random-patch", "k-arm"])
def test_a_unit_of_a_study(detector: str, calls: Counter[str], demo_victims: Path, tmp_path: Path) -> None:
    unit: Unit = units(study_of(demo_victims / "zoo", tmp_path), detector)[0]
    calls.clear()  # of the plan, which knows its images by their hash
    assert scan_unit(unit).state == "scanned"
    assert calls == ONCE


@pytest.mark.parametrize(
    "given",
    [{"mean": 0.5, "std": 0.5}, {"input_layout": "nhwc"}, {"input_dtype": "uint8"}, {"output_item": "1"}],
)
def test_a_white_box_refuses_what_it_would_not_apply(given: dict[str, Any], demo_victims: Path, tmp_path: Path) -> None:
    chosen = method("neural-cleanse-quick")
    config = chosen.config(FEW | given)
    images, file = choose_images(config, None), demo_victims / "zoo" / "0000.safetensors"
    with Ledger.open(tmp_path / "a.db") as ledger:
        with pytest.raises(ConfigError, match=f"runs the model as it is, without {next(iter(given))}"):
            white_box.inspect_model(chosen.detector, file, config, ledger, images)
        assert not reads.listed(ledger.path)
