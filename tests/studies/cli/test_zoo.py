"""`simkit zoo` over a zoo of two tiny victims of the digits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from simkit.zoo.manifest import Manifest, Victim
from studies.cli.main import main

SETTINGS = [
    "data=digits",
    "split=tune",
    "models=2",
    "clean_share=0.5",
    "sizes=[2]",
    "required_success=0",
    "held_out=50",
]
TRAINING = ["train.epochs=1", "train.train_images=100", "train.precision=float32"]


TURNCOAT = '{kind="source-specific", trigger={shape="patch", size=[2, 2]}, settings={sources=[99]}}'
SOURCES = f"attacks={{turncoat={TURNCOAT}}}"


def flags(settings: list[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoos") / "tiny"
    assert main(["zoo", "make", "--out", str(folder), *flags(SETTINGS + TRAINING)]) == 0
    return folder


def test_the_folder_holds_what_was_asked_for(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "list", str(zoo), "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["complete"] is True
    assert manifest["spec"]["name"] == "tiny"
    assert manifest["spec"]["train"]["epochs"] == 1
    assert sorted(victim["truth"] for victim in manifest["victims"]) == ["backdoored", "clean"]
    assert all((zoo / victim["file"]).is_file() for victim in manifest["victims"])


def test_the_list_is_a_table_of_the_victims(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "list", str(zoo)]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if ".safetensors" in line] == ["0", "1"]
    assert "2 of 2 victims of zoo tiny" in out


def test_failed_implants_are_listed(tmp_path: Path, zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = Manifest.load(zoo)
    backdoored = next(victim for victim in manifest.victims if victim.truth == "backdoored")
    failed = backdoored.model_copy(update={"index": 17, "implanted": False, "success_rate": 0.25})
    strict = manifest.spec.model_copy(update={"required_success": 0.9})
    manifest.model_copy(update={"failed": (failed,), "spec": strict}).save(tmp_path)
    assert main(["zoo", "list", str(tmp_path)]) == 0
    said = capsys.readouterr().out.partition("backdoor training failed (ASR < 90 %)")[2]
    assert any(line.split()[0] == "17" and "0.25" in line for line in said.splitlines() if line.strip())


@pytest.mark.parametrize(("asked", "lines"), [([], 2), (["--json"], 0)])
def test_a_log_is_told_of_each_victim_as_it_is_done(
    asked: list[str],
    lines: int,
    zoo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifest = Manifest.load(zoo)
    victims = {victim.truth: victim for victim in manifest.victims}
    failed = victims["backdoored"].model_copy(update={"index": 17, "implanted": False, "success_rate": 0.25})
    told: list[str] = []

    def make(
        _spec: object, _out: Path, progress: Callable[[Victim], None], _workers: int, _indices: object
    ) -> Manifest:
        for victim in (failed, victims["clean"]):
            progress(victim)
            told.append(capsys.readouterr().err)
        return manifest

    monkeypatch.setattr("simkit.zoo.zoo.make", make)
    assert main(["zoo", "make", "--out", str(tmp_path), *asked, *flags(SETTINGS + TRAINING)]) == 0
    assert [len(said.splitlines()) for said in told] == [lines // 2] * 2
    if lines:
        assert "17  2x2" in told[0]
        assert "25.0%, which is too low" in told[0]
        assert "(0 of 2)" in told[0]
        assert "clean accuracy" in told[1]
        assert "ASR" not in told[1]
        assert "(1 of 2)" in told[1]


def test_making_it_again_trains_nothing(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (zoo / "manifest.json").read_bytes()
    assert main(["zoo", "make", "--out", str(zoo), "--json", *flags(SETTINGS + TRAINING)]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == str(zoo)
    assert (zoo / "manifest.json").read_bytes() == before


def test_another_zoo_in_the_same_folder_is_refused(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "make", "--out", str(zoo), *flags([*SETTINGS, *TRAINING, "models=3"])]) == 2
    assert "another" in capsys.readouterr().err


def test_a_preset_is_made_of_other_images_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--preset", "cifar10", "--split", "tune", "--models", "2", "--data", "digits", "--out", str(tmp_path)]
    few = [*TRAINING, "train_of={}", "held_out=50", "required_success=0"]
    assert main(["zoo", "make", *args, "--json", *flags(few)]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert (manifest["spec"]["name"], manifest["spec"]["sizes"]) == ("cifar10-tune", [1, 2, 3])
    assert len(manifest["victims"]) == 2


def test_settings_go_over_a_spec_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIMKIT_HOME", str(tmp_path / "home"))
    file = tmp_path / "spec.toml"
    file.write_text('name = "one"\ndata = "digits"\nsplit = "report"\nmodels = 9\nclean_share = 1.0\nheld_out = 50\n')
    assert main(["zoo", "make", str(file), "--json", *flags([*TRAINING, "models=1"])]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["folder"] == str(tmp_path / "home" / "zoos" / "one")
    assert (manifest["spec"]["split"], len(manifest["victims"])) == ("report", 1)


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["zoo", "make", "--set", "models"], 2, "KEY=VALUE"),
        (["zoo", "make"], 2, "no zoo was named; give a SPEC, or for example --preset"),
        (["zoo", "make", "--preset", "mnist", "--split", "tune"], 2, "no zoo preset 'mnist'; choose from cifar10"),
        (["zoo", "make", "--preset", "cifar10"], 2, "needs --split"),
        (["zoo", "make", "--preset", "cifar10", "--split", "all"], 2, "no split 'all'"),
        (["zoo", "make", "--preset", "cifar10", "--split", "tune", "--size", "big"], 2, "no size 'big'"),
        (["zoo", "make", "--preset", "cifar10", "--split", "tune", "--data", "no/such"], 4, "no such data"),
        (["zoo", "make", "spec.toml", "--preset", "cifar10"], 2, "give one of them"),
        (["zoo", "make", "--preset", "gtsrb", "--split", "tune", "--data", "digits"], 2, "is for images of 43 classes"),
        (["zoo", "make", "--out", "x"], 2, "no zoo was named; give a SPEC, or for example --preset"),
        (["zoo", "make", *flags(["name=x", *SETTINGS, SOURCES])], 2, "zoo x, stratum turncoat: class 99, but the"),
        (["zoo", "make", "--size", "paper", *flags(["name=x", *SETTINGS])], 2, "--size applies to a preset"),
        (["zoo", "make", "--workers", "0", *flags(["name=x", *SETTINGS])], 2, "0 workers"),
        (["zoo", "make", "--set", "no_such_setting=1", *flags(["name=x", *SETTINGS])], 2, "no_such_setting"),
        (["zoo", "make", "nothing.toml"], 2, "nothing.toml"),
        (["zoo", "make", "--set", "name=x", *flags([*SETTINGS, "data=nothing.npz"])], 4, "nothing.npz"),
        (["zoo", "list", "nothing"], 4, "nothing"),
        (["zoo", "list"], 2, "DIR"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_made(
    args: list[str],
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIMKIT_HOME", str(tmp_path / "home"))
    assert main(args) == code
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_only_the_chosen_models_are_made_and_counted(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tiny"
    assert main(["zoo", "make", "--out", str(folder), "--indices", "1", *flags(SETTINGS + TRAINING)]) == 0
    told = capsys.readouterr()
    assert "(1 of 1)" in told.err
    assert "1 of 2 victims of zoo tiny" in told.out
    assert (folder / "0001.safetensors").read_bytes() == (zoo / "0001.safetensors").read_bytes()
    assert not (folder / "0000.safetensors").exists()


def test_indices_that_are_no_ranges_make_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "tiny"
    assert main(["zoo", "make", "--out", str(folder), "--indices", "one", *flags(SETTINGS + TRAINING)]) == 2
    assert "--indices 'one': write numbers and ranges" in capsys.readouterr().err
    assert not folder.exists()
