"""Scans from Python: what they find, what they cost, and what they refuse."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from db import reads
from db.check import check
from db.ledger import Ledger
from oracles.errors import ModelError
from simkit.data import ImageSet
from simkit.errors import ConfigError, DataError
from studies.scan import scan
from tests.fakes import PlantedOracle, planted_images
from tests.patches import patch
from tests.studies.scans import CHECKED, IMAGES, SETTINGS, TemplateNet, arrays, scanned


def test_a_module_of_ones_own_and_a_few_words() -> None:
    result = scan(TemplateNet(target=2), images=IMAGES, budget=5_000, oracle="top3", **SETTINGS)
    assert (result.verdict, result.flagged, result.stopped) == ("backdoored", (2,), "decided")
    assert (result.run, result.db, result.triggers) == (None, None, None)
    assert [c.target_class for c in result.classes] == [0, 1, 2, 3]
    assert result.classes[2].trials >= 32
    assert result.clean_accuracy == 1.0


def test_a_clean_module_is_clean() -> None:
    result = scanned(TemplateNet(), budget=5_000)
    assert (result.verdict, result.flagged, result.stopped) == ("clean", (), "converged")


@pytest.mark.parametrize("budget", [1, 17, 60, 500, 5_000])
def test_model_budget_and_ledger_count_the_same(budget: int, tmp_path: Path) -> None:
    net, db = TemplateNet(target=1), tmp_path / "scan.db"
    result = scanned(net, budget=budget, db=db)
    assert net.seen.images - CHECKED == result.spent == len(reads.queries(db))
    assert result.spent <= budget
    assert reads.runs(db)["spent"].tolist() == [result.spent]
    assert check(db) == []


def test_a_finished_scan_answers_without_a_query(tmp_path: Path) -> None:
    net, db = TemplateNet(target=1), tmp_path / "scan.db"
    first = scanned(net, budget=5_000, db=db)
    seen = net.seen.images
    again = scanned(TemplateNet(target=1), budget=5_000, db=db)
    assert again.to_json() == first.to_json()
    assert arrays(again) == arrays(first)
    assert net.seen.images == seen
    assert len(reads.runs(db)) == 1


def test_what_changes_an_answer_makes_another_run(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    others: list[dict[str, Any]] = [
        {"seed": 1},
        {"budget": 101},
        {"oracle": "label"},
        {"chunk": 7},
        {"precision": "bfloat16"},
        {"rule": {"threshold": 9}},
        {"driver": {"check_images": 17, "first_look": 20}},
    ]
    for settings in [{}, *others]:
        scanned(TemplateNet(), **({"budget": 100, "db": db} | settings))
    scanned(TemplateNet(target=1), budget=100, db=db)
    assert reads.runs(db)["key"].nunique() == len(others) + 2


def test_a_name_tells_models_apart_and_is_all_there_is_of_an_oracle(tmp_path: Path) -> None:
    for name in ("a", "b", "a"):
        scanned(TemplateNet(), budget=100, db=tmp_path / "module.db", name=name)
        scanned(PlantedOracle(), budget=100, db=tmp_path / "oracle.db", name=name)
    assert len(reads.runs(tmp_path / "module.db")) == 2
    assert len(reads.runs(tmp_path / "oracle.db")) == 2
    with pytest.raises(ConfigError, match="name="):
        scanned(PlantedOracle(), budget=100, db=tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_one_ledger_takes_many_scans(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "scan.db") as ledger:
        results = [scanned(TemplateNet(target=t), budget=3_000, db=ledger) for t in (0, 1)]
    assert [r.flagged for r in results] == [(0,), (1,)]
    assert [r.run for r in results] == [1, 2]
    assert {p.suffix for p in (tmp_path / "triggers").iterdir()} == {".npz", ".png"}


def test_images_without_labels_take_the_models_answers(tmp_path: Path) -> None:
    loose = ImageSet.unlabelled(IMAGES.pixels, "loose")
    results = [
        scan(TemplateNet(target=2), images=images, budget=5_000, db=tmp_path / f"{i}.db", **SETTINGS)
        for i, images in enumerate((loose, IMAGES))
    ]
    assert [(r.verdict, r.flagged, r.clean_accuracy) for r in results] == [
        ("backdoored", (2,), None),
        ("backdoored", (2,), 1.0),
    ]
    assert arrays(results[0]) == arrays(results[1]), "the planted victim is right about every image"
    asked = reads.queries(tmp_path / "0.db")
    assert asked["purpose"].value_counts()["check"] == len(IMAGES)
    assert check(tmp_path / "0.db") == []


def test_a_tensor_and_an_array_are_images_without_labels() -> None:
    told = [
        scan(TemplateNet(target=2), images=images, budget=5_000, **SETTINGS)
        for images in (IMAGES.pixels, IMAGES.pixels.numpy())
    ]
    assert [(r.verdict, r.flagged, r.clean_accuracy) for r in told] == [("backdoored", (2,), None)] * 2
    with pytest.raises(DataError, match="112 images"):
        scan(TemplateNet(), images=IMAGES.pixels, **(SETTINGS | {"search_images": 100}))
    with pytest.raises(ConfigError, match="either images or data"):
        scan(TemplateNet(), images=IMAGES.pixels, image_size=12, **SETTINGS)


def test_loose_files_are_stretched_and_scanned(tmp_path: Path) -> None:
    for number, pixels in enumerate(IMAGES.pixels):
        grey = (pixels[0].numpy() * 255).round().astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
        Image.fromarray(grey).save(tmp_path / f"{number}.png")
    for settings, error in (({}, ModelError), ({"image_size": 12}, None)):
        with pytest.raises(error) if error else nullcontext():
            result = scan(TemplateNet(target=2), data=tmp_path, budget=5_000, **(SETTINGS | settings))
    assert (result.verdict, result.flagged) == ("backdoored", (2,))


def test_progress_is_told_and_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.scan.run._TELL_SECONDS", 0.0)  # every step, whatever the machine's speed
    told: list[tuple[int, int | None, str]] = []
    result = scanned(TemplateNet(target=1), budget=3_000, progress=lambda *now: told.append(now))
    assert told
    assert [queries for queries, _, _ in told] == sorted(queries for queries, _, _ in told)
    assert told[-1][0] <= result.spent
    assert all(queries <= (end or 0) <= 3_000 for queries, end, _ in told)
    shown = r"(random-patch|refining the trigger), round \d+, smallest mask (none yet|\d+ px)"
    assert [note for _, _, note in told if not re.fullmatch(shown, note)] == []


def test_a_model_of_other_classes_or_shapes_is_asked_nothing(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    others = planted_images(112, n_classes=6)
    for model in (TemplateNet(), PlantedOracle()):
        with pytest.raises(ModelError, match=r"6.*4|4.*6"):
            scan(model, images=others, db=db, name="victim", **SETTINGS)
    with pytest.raises(ModelError, match=r"12.*16"):
        scan(PlantedOracle(), images=planted_images(112, image_shape=(1, 16, 16)), db=db, name="victim", **SETTINGS)
    with pytest.raises(ModelError, match="no model"):
        scanned(3)
    assert not db.exists()


def test_nan_is_invalid() -> None:
    net = TemplateNet()
    net.templates.data[:] = float("nan")
    result = scanned(net, budget=1_000)
    assert result.verdict == "invalid"
    assert result.score is None
    json.dumps(result.to_json(), allow_nan=False)


def test_a_result_is_what_the_ledger_says(tmp_path: Path) -> None:
    result = scanned(TemplateNet(target=1), budget=3_000, db=tmp_path / "scan.db")
    stored = reads.result(tmp_path / "scan.db", 1)
    assert stored is not None
    assert replace(stored, seconds=0.0).verdict == result.verdict
    assert result.triggers is not None
    with np.load(result.triggers.npz) as found:
        assert found["classes"].tolist() == [0, 1, 2, 3]
        assert found["mask_sizes"].tolist() == [c.mask_size for c in result.classes]
        assert (found["masks"][1] == patch(result.classes[1].trigger).mask).all()
    assert [path.name.endswith("class1.png") for path in result.triggers.png] == [True]
