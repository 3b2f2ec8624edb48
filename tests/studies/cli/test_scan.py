"""`simkit scan`: its exit codes, its JSON object, and what it says of bad input."""

from __future__ import annotations

import json
import pickle
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import db
from db.stored import StoredRun
from simkit.search.presets import PRESETS
from studies.cli.main import main
from studies.cli.scan import RefineOption
from studies.cli.scan_words import show
from studies.render.formats import number
from studies.scan import run_key
from studies.scan.config import ScanConfig
from studies.scan.prepare import prepare
from studies.scan.result import JSON_KEYS
from studies.scan.run import run_scan
from tests.studies.scans import IMAGES, SETTINGS, TemplateNet

FAST = ["--preset", "random-patch", "--set", "search.largest_side=3", "--set", "rule.threshold=9"]
FAST += ["--set", "search.rounds=40"]


class Program:
    """The command with --json on one victim of the demo."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.zoo, self._capsys, self.err = folder / "zoo", capsys, ""

    def __call__(self, model: str, *args: str, code: int) -> dict[str, Any]:
        assert main(["scan", model, *args, "--json"]) == code
        out, self.err = self._capsys.readouterr()
        told: dict[str, Any] = json.loads(out)
        assert set(told) == set(JSON_KEYS)
        assert told["exit_code"] == code
        return told


@pytest.fixture
def run(
    demo_victims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Program:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIMKIT_HOME", str(tmp_path / "home"))
    return Program(demo_victims, capsys)


def digits(budget: int, *args: str) -> list[str]:
    return ["--data", "digits", "--budget", str(budget), *FAST, *args]


def test_settings_from_a_file_are_replaced_by_options(run: Program, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('preset = "random-patch"\nbudget = 5000\nsearch.rounds = 3\noracle.top_k = 3\n')
    args = ("--data", "digits", "--settings", "mine.toml", *FAST)
    told = run(f"{run.zoo}:0", *args, "--budget", "40", "--oracle", "label", "--set", "search.rounds=1", code=3)
    assert told["queries"]["budget"] == 40
    config = json.loads(StoredRun.read(Path(told["db"]), told["run"]).info.config)
    assert (config["preset"], config["search"]["rounds"]) == ("random-patch", 1)
    assert (config["oracle"]["label_only"], config["oracle"]["top_k"]) == (True, None)


def test_a_scan_without_a_budget_is_refused(run: Program) -> None:
    told = run(f"{run.zoo}:0", "--data", "digits", *FAST, code=2)
    assert told["error"] == "there is no --budget; give the maximum number of queries"


def test_a_backdoor_by_its_entry_in_the_zoo(run: Program, tmp_path: Path) -> None:
    told = run(f"{run.zoo}:0", *digits(5_000, "--db", "scan.db"), code=0)
    assert told["verdict"] == "backdoored"
    assert told["stopped"] == "decided"
    rule = {"name": "small_patch", "threshold": 1.0, "limit": 9.0}
    rule |= {"source": "set for this run"}
    assert told["rule"] == rule
    assert told["queries"]["budget"] == 5_000
    assert 0 < told["queries"]["spent"] <= 5_000
    assert [c["class"] for c in told["classes"]] == list(range(10))
    named = {"class", "mask_size", "success_rate", "censored", "family", "strength", "unit", "trigger"}
    assert set(told["classes"][0]) == named
    assert told["error"] is None
    assert Path(told["db"]) == tmp_path / "scan.db"
    assert all(Path(path).is_file() for path in (told["trigger"]["npz"], *told["trigger"]["png"]))
    again = run(str(run.zoo / "0000.safetensors"), *digits(5_000, "--db", "scan.db"), code=0)
    assert again == told


def test_without_data_the_weights_tell_the_shape_and_images_are_made(run: Program) -> None:
    told = run(f"{run.zoo}:0", "--preset", "b3d-ss", "--budget", "200", "--set", "synthesis.draws=120", code=3)
    assert (told["verdict"], told["clean_accuracy"]) == ("undecided", None)
    assert told["queries"] == {"budget": 200, "spent": 0, "refused": 250, "images": 0}
    small = ["--set", "search_images=20", "--set", "verify_images=20", "--set", "synthesis.draws=60"]
    told = run(f"{run.zoo}:0", "--preset", "b3d-ss", "--budget", "900", *small, code=3)
    assert 60 < told["queries"]["images"] <= 60 + 40 * 21
    assert "40 images of" in told["notes"]


def test_a_budget_that_does_not_pay_the_images_is_told_with_their_price(
    run: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--set", "search_images=20", "--set", "verify_images=20", "--set", "synthesis.draws=60"]
    assert main(["scan", f"{run.zoo}:0", "--preset", "b3d-ss", "--budget", "100", *small]) == 3
    assert "the budget does not cover the images; give --budget 900 or more" in capsys.readouterr().out


def test_without_data_another_preset_is_a_usage_error(run: Program) -> None:
    told = run(f"{run.zoo}:0", "--budget", "200", code=2)
    assert "give data" in told["error"]


def test_a_clean_victim_in_the_ledger_of_its_own(run: Program, tmp_path: Path) -> None:
    told = run(f"{run.zoo}:1", *digits(5_000), code=0)
    assert (told["verdict"], told["flagged"]) == ("clean", [])
    assert Path(told["db"]).parent == tmp_path / "home" / "scans"
    assert Path(told["db"]).name.startswith("0001-")
    assert Path(told["trigger"]["npz"]).parent == tmp_path / "home" / "scans" / "triggers"


def test_undecided_ends_with_3(run: Program) -> None:
    told = run(f"{run.zoo}:0", *digits(100), code=3)
    assert (told["verdict"], told["stopped"], told["error"]) == ("undecided", "budget", None)
    assert told["queries"]["spent"] <= 100


def test_invalid_ends_with_4(run: Program, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (600, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "noise.npz", images=pixels, labels=np.arange(600) % 10)
    settings = ["--set", "search_images=75", "--set", "verify_images=75"]
    told = run(f"{run.zoo}:0", "--data", "noise.npz", "--budget", "5000", *FAST, *settings, code=4)
    assert told["verdict"] == "invalid"
    assert "chance" in told["error"]
    assert told["queries"]["spent"] == 64


def test_plain_weights_with_their_architecture(run: Program, tmp_path: Path) -> None:
    torch.save(load_file(run.zoo / "0000.safetensors"), tmp_path / "plain.pt")
    told = run("plain.pt", *digits(5_000, "--architecture", "conv4"), code=0)
    assert told["verdict"] == "backdoored"
    assert "architecture" in run("plain.pt", *digits(5_000), code=4)["error"]


def test_words_for_people(run: Program, demo_victims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", f"{run.zoo}:0", *digits(5_000, "--db", "scan.db")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("backdoored, class ")
    assert "queries of a budget of 5,000" in out
    assert "scan.db, run 1" in out
    assert main(["scan", f"{run.zoo}:0", *digits(100, "--db", "scan.db")]) == 3
    assert capsys.readouterr().out.startswith("undecided: the budget ran out")


def test_a_budget_below_the_first_check_is_told_its_price(run: Program, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", f"{run.zoo}:0", *digits(5, "--db", "scan.db")]) == 3
    out = capsys.readouterr().out
    assert out.startswith("undecided: the budget does not cover the first check; give --budget 64 or more\nscore ")
    assert ".png" not in out


def test_without_labels_the_first_check_is_all_images(capsys: pytest.CaptureFixture[str]) -> None:
    config = ScanConfig.of(SETTINGS | {"budget": 111})
    show(run_scan(prepared := prepare(TemplateNet(), config, IMAGES.pixels)), prepared)
    assert "give --budget 112 or more" in capsys.readouterr().out


def test_score_and_threshold_are_told_on_one_scale(run: Program, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--data", "digits", "--budget", "300", "--preset", "b3d", "--set", "rule.threshold=0.5"]
    told = run(f"{run.zoo}:0", *args, code=3)
    assert told["rule"]["threshold"] == pytest.approx(0.6931, abs=1e-4)
    assert main(["scan", f"{run.zoo}:0", *args]) == 3
    limit = 0.5 * float(np.median([max(c["mask_size"], 1.0) for c in told["classes"]]))
    said = f"score {told['score']:.3g} (a class is flagged above 0.693); rule below_median flags working masks under"
    out = capsys.readouterr().out
    assert f"{said} {number(limit)} pixels; " in out
    assert "0.5: set for this run\n" in out


def test_random_patches_say_what_they_looked_at(run: Program, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", f"{run.zoo}:1", *digits(5_000, "--db", "scan.db")]) == 0
    out = capsys.readouterr().out
    patch = "no random patch of up to 3x3 pixels is both flagged and confirmed"
    assert out.startswith(f"clean: {patch}; other triggers were not searched for\n")
    assert " (a class is flagged above 1); rule small_patch flags working masks of at most 9" in out
    assert "set for this run\n" in out
    assert "-unflagged-class" in out


BAD_OPTIONS = [
    (["--budget", "0"], "budget"),
    (["--budget", "-5"], "budget"),
    (["--budget", "many"], "budget"),
    (["--oracle", "top11"], "top_k is 11"),
    (["--oracle", "nonsense"], "nonsense"),
    (["--preset", "nonsense"], "nonsense"),
    (["--precision", "float8"], "precision"),
    (["--chunk", "0"], "chunk"),
    (["--mean", "0.5"], "mean and std"),
    (["--mean", "a", "--std", "b"], "mean"),
    (["--mean", "1,2,3", "--std", "1,2,3"], "3 numbers for 1 channels"),
    (["--output", "words"], "output"),
    (["--seed", "-1"], "seed"),
    (["--set", "search.sampels=3"], "sampels"),
    (["--set", "search.rounds=0"], "rounds|counts"),
    (["--set", "nonsense=1"], "nonsense"),
    (["--set", "rule.name=nonsense"], "nonsense"),
    (["--no-such-option"], "no-such-option"),
]


@pytest.mark.parametrize(("args", "named"), BAD_OPTIONS, ids=[" ".join(a) for a, _ in BAD_OPTIONS])
def test_bad_options_end_with_2_and_touch_nothing(args: list[str], named: str, run: Program, tmp_path: Path) -> None:
    told = run(f"{run.zoo}:0", *digits(100, "--db", "scan.db", *args), code=2)
    assert any(word in told["error"] for word in named.split("|"))
    assert told["verdict"] is None
    assert run.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_arguments_that_are_missing_end_with_2(run: Program) -> None:
    assert "--budget" in run(f"{run.zoo}:0", "--data", "digits", code=2)["error"]


def truncated(folder: Path, zoo: Path) -> str:
    (folder / "cut.safetensors").write_bytes((zoo / "0000.safetensors").read_bytes()[:1000])
    return "cut.safetensors"


def pickled(folder: Path, zoo: Path) -> str:
    (folder / "code.pt").write_bytes(pickle.dumps(print))
    return "code.pt"


def other_classes(folder: Path, zoo: Path) -> str:
    torch.jit.save(torch.jit.script(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 7))), folder / "7.pt")
    return "7.pt"


def other_channels(folder: Path, zoo: Path) -> str:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(10))
    net(torch.zeros(1, 3, 8, 8))
    torch.jit.save(torch.jit.script(net), folder / "rgb.pt")
    return "rgb.pt"


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (truncated, "damaged"),
        (pickled, "Python objects"),
        (other_classes, r"10.* 7 "),
        (other_channels, "(N, 1, 8, 8)"),
        (lambda folder, zoo: "nothing.pt", "nothing.pt"),
        (lambda folder, zoo: f"{zoo}:7", "no victim 7"),
        (lambda folder, zoo: "nowhere:7", "nowhere"),
    ],
)
@pytest.mark.usefixtures("read_here")
def test_bad_models_end_with_4_and_touch_no_ledger(
    make: Callable[[Path, Path], str], named: str, run: Program, tmp_path: Path
) -> None:
    told = run(make(tmp_path, run.zoo), *digits(100, "--db", "scan.db"), code=4)
    assert all(word in told["error"] for word in named.split(".*"))
    assert run.err.count("\n") == 1
    assert not (tmp_path / "scan.db").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("trust", [("--trust-model",), ("--set", "trust_model=true")])
def test_a_trusted_file_is_said_in_the_result_and_in_no_setting(
    trust: tuple[str, ...], run: Program, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    torch.jit.save(torch.jit.script(net), tmp_path / "net.pt")
    told = run("net.pt", *digits(600, "--db", "scan.db", *trust), code=4)
    assert told["notes"].endswith("the model file was trusted, and its program ran in simkit's own process")
    (config,) = db.open(tmp_path / "scan.db").sql("SELECT config FROM runs").config
    assert "trust" not in config


def bad_npz(folder: Path, **arrays: Any) -> str:
    sound: dict[str, Any] = {"images": np.zeros((400, 8, 8), np.uint8), "labels": np.arange(400) % 10}
    np.savez(folder / "bad.npz", **(sound | arrays))
    return "bad.npz"


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({"images": np.full((400, 8, 8), np.nan, np.float32)}, "row"),
        ({"images": np.zeros((400, 8, 8, 3), np.uint8)}, "(1, 8, 8)"),
        ({"labels": np.arange(400) % 20}, "20"),
        ({"labels": np.arange(400) % 10 - 1}, "-1"),
        ({"images": np.zeros((399, 8, 8), np.uint8)}, "399"),
    ],
    ids=["nan", "channels", "classes", "label", "number"],
)
def test_bad_data_ends_with_4_and_touches_no_ledger(
    arrays: dict[str, Any], named: str, run: Program, tmp_path: Path
) -> None:
    data = bad_npz(tmp_path, **arrays)
    settings = ["--set", "search_images=40", "--set", "verify_images=40"]
    told = run(f"{run.zoo}:0", "--data", data, "--budget", "100", *settings, *FAST, "--db", "scan.db", code=4)
    assert named in told["error"]
    assert not (tmp_path / "scan.db").exists()


def test_a_database_of_another_program_stays_as_it_was(run: Program, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    before = (tmp_path / "other.db").read_bytes()
    assert "another program" in run(f"{run.zoo}:0", *digits(100, "--db", "other.db"), code=5)["error"]
    assert (tmp_path / "other.db").read_bytes() == before


def test_an_empty_file_becomes_a_ledger_and_another_file_does_not(run: Program, tmp_path: Path) -> None:
    empty, other = tmp_path / "scan.db", tmp_path / "notes.txt"
    empty.touch()  # as `sqlite3 scan.db .tables` leaves one
    other.write_text("\n")
    told = run(f"{run.zoo}:0", *digits(20, "--db", str(empty)), code=3)
    assert (told["verdict"], told["queries"]["spent"]) == ("undecided", 0)
    assert empty.stat().st_size > 0
    told = run(f"{run.zoo}:0", *digits(20, "--db", str(other)), code=5)
    assert "not an SQLite file" in told["error"]
    assert other.read_text() == "\n"


def test_a_path_below_a_file_ends_with_5_before_any_query(run: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    run(f"{run.zoo}:0", *digits(100, "--db", "file/scan.db"), code=5)
    run(f"{run.zoo}:0", *digits(100, "--db", "scan.db", "--out", "file/triggers"), code=5)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_scan_from_elsewhere_is_refused_and_begun_anew_in_one_line(
    run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(f"{run.zoo}:0", *digits(100, "--db", "scan.db"), code=3)
    monkeypatch.setitem(run_key.__dict__, "np", SimpleNamespace(__version__="2.0.0"))
    refused = run(f"{run.zoo}:0", *digits(100, "--db", "scan.db"), code=2)
    assert "now 2.0.0: a new run would pay again" in refused["error"]
    told = run(f"{run.zoo}:0", *digits(100, "--db", "scan.db"), "--new-run", code=3)
    assert told["run"] == 2
    short, new = run.err.splitlines()
    assert short.startswith("simkit: warning: a budget of 100 queries is less than the ")
    assert new.startswith("simkit: warning: ")
    assert new.endswith("now 2.0.0; this starts a new run")


def test_large_patches_are_warned_of_in_one_line(run: Program) -> None:
    run(f"{run.zoo}:0", "--data", "digits", "--budget", "10", "--preset", "random-patch", code=3)
    large, short = run.err.splitlines()
    assert large.startswith("simkit: warning: patches of 4x4 cover much")
    assert short.startswith("simkit: warning: a budget of 10 queries is less than the 3,374 that random-patch takes")


def test_an_interrupt_still_answers_in_json(run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("oracles.torch_model.TorchOracle.query", interrupted)
        told = run(f"{run.zoo}:0", *digits(5_000, "--db", "scan.db"), code=130)
    assert "the same command resumes" in told["error"]
    assert run(f"{run.zoo}:0", *digits(5_000, "--db", "scan.db"), code=0)["verdict"] == "backdoored"


NO_PATCH = "no random patch of up to 4x4 pixels is both flagged and confirmed; other triggers were not searched for"
STANDS_OUT = f"clean: {NO_PATCH}\nnote: crowded\n"


@pytest.mark.parametrize(
    ("verdict", "stopped", "said"),
    [
        ("clean", "converged", STANDS_OUT),
        ("undecided", "refused", "undecided: crowded\n"),
        (
            "undecided",
            "budget",
            "undecided: the budget ran out before a verdict; give a larger --budget: with random-patch, a model of 4 "
            "classes takes up to 2,534 queries where nothing is flagged\nnote: crowded\n",
        ),
    ],
)
def test_notes_stand_beside_a_verdict_or_for_it(
    verdict: str, stopped: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare(TemplateNet(), ScanConfig.of(SETTINGS | {"budget": 100}), IMAGES)
    show(replace(run_scan(prepared), verdict=verdict, stopped=stopped, notes="crowded"), prepared)
    assert capsys.readouterr().out.startswith(said)


def test_the_help_names_the_presets_that_refine_what_they_found() -> None:
    *first, last = sorted(name for name, preset in PRESETS.items() if any(stage.refine for stage in preset.stages))
    assert get_args(RefineOption)[1].show_default == f"500 in {', '.join(first)} and {last}, else 0"
