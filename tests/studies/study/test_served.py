"""A study whose victims are asked over HTTP: the lines of the files, in each kind of worker, and no key is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oracles.wire.contract import HttpReply, HttpRequest
from simkit.data import load
from simkit.errors import ConfigError
from simkit.zoo.manifest import Manifest
from studies.cli.main import main
from studies.scan.config import ScanConfig
from studies.scan.models import open_model
from studies.study.executors import Workers
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine
from studies.study.study_file import StudyFile
from studies.study.unit import scan_unit
from studies.study.workers import work_through
from tests.remote_server import Behaviour, serving
from tests.studies.study.files import ASKS, HEAD, LOOKS, written
from tests.studies.study.studies import study_of, units

pytestmark = [pytest.mark.process, pytest.mark.slow]

CANARY = "sk-canary-8d02bb61"


@contextmanager
def zoo_served(zoo: Path) -> Iterator[str]:
    """The victims of a zoo behind one address with {index}, for callers with the key CANARY."""
    images, made = load("digits", "test", 8), {}
    for victim in Manifest.load(zoo).victims:
        oracle = open_model(f"{zoo}:{victim.index}", images, ScanConfig()).oracle
        made[f"/v2/models/demo-{victim.index}"] = serving(oracle, Behaviour(key=CANARY), max_batch=64)
    with made["/v2/models/demo-0"] as first, made["/v2/models/demo-1"] as second:

        def before(request: HttpRequest) -> HttpReply | None:
            return second.reply(request) if "/demo-1" in request.target else None

        first.behaviour.before = before
        yield first.url.replace("/net", "/demo-{index}")


def same(line: ResultLine) -> dict[str, Any]:
    """The line without the seconds, and without how this process told what the file's model puts out."""
    return line.model_dump(exclude={"seconds", "config_hash", "environment"})


def files_with(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_unit_that_is_served_has_the_line_of_its_file(demo_victims: Path, tmp_path: Path) -> None:
    zoo, key = demo_victims / "zoo", tmp_path / "key"
    key.write_text(CANARY)
    here = study_of(zoo, tmp_path / "here")
    with zoo_served(zoo) as address:
        there = replace(study_of(zoo, tmp_path / "there", remote={"key_file": str(key)}), served=address)
        for unit in (*units(here, "race"), *units(there, "race")):
            outcome = scan_unit(unit)
            assert outcome.state == "scanned", outcome.messages
        assert units(there, "race") == ()  # each line is found again
        key.unlink()
    wanted, got = read_lines(here.out), read_lines(there.out)
    assert [same(line) for line in got] == [same(line) for line in wanted]
    assert {line.config_hash for line in got}.isdisjoint({line.config_hash for line in wanted})
    assert files_with(tmp_path, CANARY) == []


@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_workers_read_the_key_themselves(
    executor: str, demo_victims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("SERVED_KEY", CANARY)
    key = tmp_path / "key"
    key.write_text(CANARY)
    zoo = demo_victims / "zoo"
    with zoo_served(zoo) as address:
        given = {"key_env": "SERVED_KEY"} if executor == "dask" else {"key_file": str(key)}
        study = replace(study_of(zoo, tmp_path / "out", remote=given), served=address).absolute()
        if executor == "dask":
            distributed = pytest.importorskip("distributed", reason="no Dask: pip install 'b3d-simkit[dask]'")
            with distributed.LocalCluster(
                n_workers=1, threads_per_worker=1, dashboard_address=None, protocol="tcp"
            ) as cluster:
                where = f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"
                outcomes = list(work_through(units(study, "race"), Workers(1, 1, where)))
        else:
            outcomes = list(work_through(units(study, "race"), Workers(1, 1, "processes")))
    assert [outcome.state for outcome in outcomes] == ["scanned", "scanned"], outcomes
    out, err = capfd.readouterr()
    assert CANARY not in out + err
    key.unlink()
    assert files_with(tmp_path, CANARY) == []


def test_a_study_file_may_name_the_service(demo_victims: Path, tmp_path: Path, capsys: Any) -> None:
    zoo, key = demo_victims / "zoo", tmp_path / "key"
    key.write_text(CANARY)
    with zoo_served(zoo) as address:
        head = HEAD.replace("}", f', remote = {{key_file = "{key}"}}}}')
        path = written(tmp_path, zoo, "race", head=head.replace("budget = 2000", "budget = 3000"))
        path.write_text(path.read_text().replace("[[zoos]]", f'[[zoos]]\nserved = "{address}"'))
        assert main(["study", "run", str(path)]) == 0
    lines = read_lines(StudyFile.load(path).results)
    assert len(lines) == 2
    assert all(line.right for line in lines)
    del capsys


WRONG = [
    ('served = "https://h/v2/models/net"', ASKS, "served"),
    ('served = "https://h/v2/models/net-{index}"', LOOKS, "needs weights"),
]


@pytest.mark.parametrize(("served", "detector", "said"), WRONG)
def test_what_is_wrong_is_told_before_anything_is_asked(
    served: str, detector: str, said: str, demo_victims: Path, tmp_path: Path
) -> None:
    path = written(tmp_path, demo_victims / "zoo", detector)
    before = StudyFile.load(path).hash
    path.write_text(path.read_text().replace("[[zoos]]", f"[[zoos]]\n{served}"))
    with pytest.raises(ConfigError, match=said):
        StudyFile.load(path)
    assert len(before) == 64
