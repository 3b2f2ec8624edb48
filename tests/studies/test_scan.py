"""Scans from Python: what they find, what they cost, and that neither depends on how often they were interrupted."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from db import reads
from db.check import check
from db.ledger import Ledger, Run
from db.records import TriggerRow, VerdictRow
from oracles.answers import Answer
from oracles.errors import ModelError
from oracles.oracle import Tag
from simkit.errors import ConfigError, DataError
from simkit.seeding import stream
from studies.scan import Standing, prepare, run_scan, scan
from studies.scan_config import ScanConfig
from studies.scan_result import ScanResult
from tests.fakes import PlantedOracle, corner_plant, planted_images, templates
from tests.studies.killing import images_asked, killed

IMAGES = planted_images(112)
SETTINGS: dict[str, Any] = {
    **{"preset": "random-patch", "search_images": 64, "verify_images": 48},
    **{"search": {"rounds": 60}, "driver": {"check_images": 16, "first_look": 20}},
}
KILLS = int(os.environ.get("SIMKIT_KILLS", "20"))


class Count:
    """A number that copies of a model share."""

    def __init__(self) -> None:
        self.images = 0

    def __deepcopy__(self, memo: object) -> Count:
        return self


class TemplateNet(nn.Module):
    """The planted victim as a torch module; counts the images that are forwarded."""

    def __init__(self, target: int | None = None) -> None:
        super().__init__()
        self.seen = Count()
        self.templates = nn.Parameter(torch.from_numpy(templates(4, (1, 12, 12))))
        self.target = nn.Parameter(nn.functional.one_hot(torch.tensor(target or 0), 4) * float(target is not None))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.images += len(images)
        looks = torch.clip(10.0 * (images - 0.5), -1.0, 1.0)
        logits = 20.0 * torch.einsum("nchw,tchw->nt", looks, self.templates) / self.templates[0].numel()
        white = torch.sigmoid(15.0 * (images[:, :, :2, :2].mean(dim=(1, 2, 3)) - 0.8))
        return logits + 20.0 * white[:, None] * self.target


class Stopping(PlantedOracle):
    """Raises `error` instead of its answer number `stop_at`, counted over everything it was ever asked."""

    stop_at = -1
    error: BaseException = KeyboardInterrupt()
    calls = 0

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        self.calls += 1
        if self.calls == self.stop_at:
            raise self.error
        return super().query(images, tag)


def scanned(model: Any, **settings: Any) -> ScanResult:
    return scan(model, images=IMAGES, **(SETTINGS | settings))


def told(result: ScanResult) -> dict[str, Any]:
    """Everything but what may differ between two processes."""
    return result.to_json() | {"seconds": None, "db": None, "trigger": None, "run": None}


def arrays(result: ScanResult) -> list[bytes]:
    return [c.trigger.mask.tobytes() + c.trigger.pattern.tobytes() for c in result.classes]


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
    assert net.seen.images == result.spent == len(reads.queries(db))
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


@pytest.mark.parametrize("oracle", ["scores", "noisy", "label"])
def test_an_interrupted_scan_goes_on_as_if_nothing_had_been(oracle: str, tmp_path: Path) -> None:
    plant = corner_plant(3)
    unbroken = scanned(PlantedOracle(plant=plant), budget=3_000, oracle=oracle)
    victim = Stopping(plant=plant)
    for stop_at in (1, 5, 9, 40):
        victim.stop_at = stop_at
        with pytest.raises(KeyboardInterrupt):
            scanned(victim, budget=3_000, oracle=oracle, db=tmp_path / "scan.db", name="victim")
    result = scanned(victim, budget=3_000, oracle=oracle, db=tmp_path / "scan.db", name="victim")
    assert told(result) == told(unbroken)
    assert arrays(result) == arrays(unbroken)
    assert victim.images_seen == result.spent
    assert check(tmp_path / "scan.db") == []


def test_a_model_that_fails_costs_nothing_and_may_be_mended(tmp_path: Path) -> None:
    victim = Stopping(plant=corner_plant(0))
    victim.stop_at, victim.error = 3, ModelError("out of memory")
    with pytest.raises(ModelError):
        scanned(victim, budget=3_000, db=tmp_path / "scan.db", name="victim")
    result = scanned(victim, budget=3_000, db=tmp_path / "scan.db", name="victim")
    assert result.flagged == (0,)
    assert victim.images_seen == result.spent == len(reads.queries(tmp_path / "scan.db"))


@pytest.mark.parametrize("budget", range(1, 80, 6))
def test_a_refusal_is_written_once_however_often_the_scan_is_killed(
    budget: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = scanned(PlantedOracle(), budget=budget)

    def stopped(self: Run, verdict: VerdictRow, triggers: list[TriggerRow]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Run, "finish", stopped)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                scanned(PlantedOracle(), budget=budget, db=tmp_path / "scan.db", name="victim")
    result = scanned(PlantedOracle(), budget=budget, db=tmp_path / "scan.db", name="victim")
    assert told(result) == told(unbroken)
    assert check(tmp_path / "scan.db") == []


def test_one_ledger_takes_many_scans(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "scan.db") as ledger:
        results = [scanned(TemplateNet(target=t), budget=3_000, db=ledger) for t in (0, 1)]
    assert [r.flagged for r in results] == [(0,), (1,)]
    assert [r.run for r in results] == [1, 2]
    assert {p.suffix for p in (tmp_path / "triggers").iterdir()} == {".npz", ".png"}


def test_progress_is_told_and_never_goes_back() -> None:
    standings: list[Standing] = []
    result = scanned(TemplateNet(target=1), budget=3_000, progress=standings.append)
    assert standings
    assert [s.queries for s in standings] == sorted(s.queries for s in standings)
    assert standings[-1].queries <= result.spent
    assert {s.budget for s in standings} == {3_000}


def test_the_images_are_disjoint_and_drawn_by_the_seed() -> None:
    def drawn(seed: int) -> tuple[bytes, set[bytes], set[bytes]]:
        config = ScanConfig.of(SETTINGS | {"seed": seed})
        images = prepare(TemplateNet(), config, IMAGES).images
        rows = [{image.numpy().tobytes() for image in part.pixels} for part in (images.search, images.verify)]
        return images.search.pixels.numpy().tobytes(), rows[0], rows[1]

    first, searched, verified = drawn(0)
    assert (len(searched), len(verified)) == (64, 48)
    assert not searched & verified
    assert drawn(0)[0] == first != drawn(1)[0]


def test_too_few_images_and_no_images() -> None:
    with pytest.raises(DataError, match=r"112 images.* is 200"):
        scanned(TemplateNet(), search_images=152)
    with pytest.raises(ConfigError, match="data"):
        scan(TemplateNet(), budget=10)


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


class ViewNet(nn.Module):
    """As people write them: `view` needs a number of features, so that no empty batch tells the classes."""

    def __init__(self, n_classes: int, side: int = 12) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * side * side, n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.conv(images)
        scores: torch.Tensor = self.last(features.view(features.size(0), -1))
        return scores


class Stretched(ViewNet):
    """Answers more classes than its last weight has rows."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).repeat(1, 2)


@pytest.mark.parametrize("net", [ViewNet(7), ViewNet(4, side=28), Stretched(4)], ids=["classes", "side", "answer"])
def test_a_model_that_fails_at_its_first_answer_leaves_the_ledger_as_it_was(net: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        scanned(net, budget=500, db=tmp_path / "new.db")
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    scanned(ViewNet(4), budget=500, db=tmp_path / "scan.db")
    with pytest.raises(ModelError):
        scanned(net, budget=500, db=tmp_path / "scan.db")
    assert len(reads.runs(tmp_path / "scan.db")) == 1
    assert check(tmp_path / "scan.db") == []
    assert scanned(TemplateNet(), budget=500, db=tmp_path / "new.db").run == 1


class Probabilities(TemplateNet):
    """Rows that sum to 1, but only those of the first check: by any others they would be taken for logits."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = torch.softmax(super().forward(images), dim=1)
        return rows if self.seen.images <= 16 else rows * 0.9


def test_what_a_model_answers_is_decided_once(tmp_path: Path) -> None:
    db, net = tmp_path / "scan.db", Probabilities()
    for _ in range(3):
        with pytest.raises(ModelError, match="probabilities"):
            scanned(net, budget=500, db=db)
    assert json.loads(reads.runs(db)["environment"][0])["output"] == "probabilities"
    assert reads.runs(db)["spent"].tolist() == [16]


def test_the_same_scan_elsewhere_is_told_apart_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = tmp_path / "scan.db"
    scanned(TemplateNet(), budget=100, db=db)
    monkeypatch.setattr(np, "__version__", "1.0")
    with pytest.warns(UserWarning, match=r"run 1 is the same scan made with numpy .*, now 1\.0: this one begins anew"):
        scanned(TemplateNet(), budget=100, db=db)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scanned(TemplateNet(), budget=100, db=db)
        scanned(TemplateNet(), budget=101, db=db)
    assert len(reads.runs(db)) == 3


def test_images_and_data_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="one of them"):
        scanned(TemplateNet(), data="digits")


def test_nan_is_invalid() -> None:
    net = TemplateNet()
    net.templates.data[:] = float("nan")
    result = scanned(net, budget=1_000)
    assert result.verdict == "invalid"
    assert result.score is None
    json.dumps(result.to_json(), allow_nan=False)


KILLED: list[dict[str, Any]] = [
    {
        **{"preset": "random-patch", "oracle": "noisy", "budget": 20_000},
        **{"search": {"rounds": 400, "largest_side": 1}, "rule": {"threshold": 0.5}},
    },
    {"preset": "efficient", "oracle": "scores", "budget": 40_000, "search": {"steps": 25}},
]


@pytest.mark.parametrize("settings", KILLED, ids=["random-patch", "efficient"])
def test_kills_lose_no_query_and_count_none_twice(settings: dict[str, Any], demo_folder: Path, tmp_path: Path) -> None:
    """SIGKILL at seeded moments of the command, then the same command: the same triggers, to the last bit."""
    db, model = tmp_path / "scan.db", demo_folder / "zoo" / "0001.safetensors"
    args = [str(model), *("--data", "digits", "--db", str(db)), *_as_options(settings)]
    lost, forwarded, kills = 0, 0, 0
    for number, moment in enumerate(stream(0, "kills").uniform(0.0, 1.6 / KILLS, KILLS)):
        was_killed = killed(args, float(moment), tmp_path / str(number))
        calls = images_asked(tmp_path / str(number))
        kills += was_killed
        forwarded += sum(calls)
        lost += calls[-1] if was_killed and calls else 0
    assert kills >= KILLS // 4
    prepared = prepare(model, ScanConfig.of(settings | {"data": "digits"}))
    resumed = run_scan(prepared, db)
    unbroken = run_scan(prepared, None, tmp_path / "unbroken")
    assert told(resumed) == told(unbroken)
    assert resumed.triggers is not None
    assert unbroken.triggers is not None
    assert resumed.triggers.npz.read_bytes() == unbroken.triggers.npz.read_bytes()
    assert resumed.spent == len(reads.queries(db))
    assert forwarded <= resumed.spent + lost
    assert check(db) == []


def _as_options(settings: dict[str, Any]) -> list[str]:
    nested = {f"{k}.{name}": v for k, held in settings.items() if isinstance(held, dict) for name, v in held.items()}
    plain = [part for k, v in settings.items() if not isinstance(v, dict) for part in (f"--{k}", str(v))]
    return plain + [part for k, v in nested.items() for part in ("--set", f"{k}={v}")]


def test_a_result_is_what_the_ledger_says(tmp_path: Path) -> None:
    result = scanned(TemplateNet(target=1), budget=3_000, db=tmp_path / "scan.db")
    stored = reads.result(tmp_path / "scan.db", 1)
    assert stored is not None
    assert replace(stored, seconds=0.0).verdict == result.verdict
    assert result.triggers is not None
    with np.load(result.triggers.npz) as found:
        assert found["classes"].tolist() == [0, 1, 2, 3]
        assert found["mask_sizes"].tolist() == [c.mask_size for c in result.classes]
        assert (found["masks"][1] == result.classes[1].trigger.mask).all()
    assert [path.name.endswith("class1.png") for path in result.triggers.png] == [True]
