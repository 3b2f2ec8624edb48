"""The queries of a service's run are asked again with the images that were kept, and compared with what was told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from db.ledger import Ledger
from oracles.spec import OracleSpec
from oracles.wire.contract import Question
from simkit.errors import ConfigError
from studies.cli.main import main
from studies.replay.ask_again import AskAgain
from studies.replay.served import replay_served, served_run
from studies.service.config import ModelEntry
from studies.service.gate import Gate
from studies.service.models import open_entry
from tests.studies.service.conftest import key_of, sent

MODEL = "python:tests.studies.service.served:ORACLE"
NOISY = OracleSpec(score_noise=0.05, input_noise=0.02, top_k=3, seed=4)


def service_of(folder: Path, keep: int, calls: int = 5, spec: OracleSpec = NOISY) -> Path:
    """A ledger of a service that was asked, and its file."""
    (folder / "service.toml").write_text(
        f'db = "provider.db"\nkeys = "K.toml"\n[[model]]\nname = "m"\nfile = "{MODEL}"\nclasses = 5\n', encoding="utf-8"
    )
    entry = ModelEntry(name="m", file=MODEL, classes=5, oracle=spec)
    path = folder / "provider.db"
    with Ledger.open(path) as ledger:
        gate = Gate({"m": open_entry(entry).served}, ledger, keep=keep)
        for number in range(calls):
            images = np.random.default_rng(number).random((2 + number % 2, 3, 4, 4)).astype(np.float32)
            question = Question(images)
            gate.call(key_of(), "m", question, sent(question))
    return path


def test_every_query_has_its_answer_again_with_its_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = service_of(tmp_path, keep=10**6)
    for model in (str(tmp_path / "service.toml"), MODEL):
        assert main(["replay", str(path), "1", "--model", model]) == 0
        assert "12 sent again in whole calls, 12 compared: 12 equal" in capsys.readouterr().out


def test_a_sample_asks_whole_calls(tmp_path: Path) -> None:
    run = served_run(service_of(tmp_path, keep=10**6), None)
    assert run is not None
    result = replay_served(run, AskAgain(MODEL, sample=1))
    assert (result.compared.queries, result.compared.different, result.rebuilt) == (1, 0, 12)
    assert result.asked in (2, 3)


def test_an_answer_that_was_changed_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = service_of(tmp_path, keep=10**6, spec=NOISY)
    other = tmp_path / "other"
    other.mkdir()
    changed = service_of(other, keep=10**6, spec=NOISY.model_copy(update={"seed": 5}))
    for each in (path, changed):
        run = served_run(each, 1)
        assert run is not None
        assert replay_served(run, AskAgain(MODEL)).holds

    run = served_run(changed, 1)
    first = served_run(path, 1)
    assert run is not None
    assert first is not None
    mixed = replace(run, info=first.info)
    result = replay_served(mixed, AskAgain(MODEL))
    assert result.compared.different > 0
    assert not result.holds


def test_images_beyond_the_room_are_counted_and_none_at_all_is_an_error_that_says_how_to_keep_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = served_run(service_of(tmp_path, keep=1000), None)
    assert run is not None
    result = replay_served(run, AskAgain(MODEL))
    assert 0 < result.rebuilt < 12
    assert sum(result.not_replayable.values()) == 12 - result.rebuilt
    assert result.holds
    (tmp_path / "none").mkdir()
    path = service_of(tmp_path / "none", keep=0)
    assert main(["replay", str(path), "1", "--model", MODEL]) == 2
    said = capsys.readouterr().err
    assert "set keep_pictures in the service's file" in said


def test_a_model_must_be_given_and_be_that_of_the_run(tmp_path: Path) -> None:
    run = served_run(service_of(tmp_path, keep=10**6), None)
    assert run is not None
    with pytest.raises(ConfigError, match="give its file or the model as --model"):
        replay_served(run, AskAgain())
    other = tmp_path / "other.toml"
    other.write_text((tmp_path / "service.toml").read_text().replace('"m"', '"x"'), encoding="utf-8")
    with pytest.raises(ConfigError, match="has no model 'm'"):
        replay_served(run, AskAgain(str(other)))
