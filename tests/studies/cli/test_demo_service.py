"""`simkit demo --service`: verdicts over HTTP, equal sums in both ledgers, and no process or secret that stays."""

from __future__ import annotations

import json
import multiprocessing
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from db import reads
from db.check import check
from studies.cli.main import main


@pytest.fixture
def folder(demo_victims: Path, tmp_path: Path) -> Path:
    shutil.copytree(demo_victims / "zoo", tmp_path / "demo" / "digits")
    return tmp_path / "demo"


@pytest.mark.slow
@pytest.mark.process
def test_the_victims_are_told_apart_and_charged_what_was_spent(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []
    monkeypatch.setattr("studies.cli.demo_service.new_key", _noting(keys))
    assert main(["demo", "--service", "--out", str(folder), "--json"]) == 0
    out, err = capfd.readouterr()
    told = json.loads(out)
    assert [scan["verdict"] == scan["truth"] for scan in told["scans"]] == [True, True]
    assert {scan["truth"] == "clean" for scan in told["scans"]} == {True, False}
    provider, caller = (folder / "service-1" / name for name in ("provider.db", "caller.db"))
    for db in (provider, caller):
        assert check(db) == []
        assert sum(reads.spend(db)["charged"]) == sum(scan["queries"] for scan in told["scans"]) > 0
    assert told["charged"] == told["spent"]
    assert reads.sql(provider, "SELECT count(*) AS n FROM alarms")["n"].item() > 0  # for the console to show
    assert told["mismatches"] == []
    assert re.search(r"console: http://127.0.0.1:\d+/console", err)
    written = [path.read_bytes() for path in (folder / "service-1").rglob("*") if path.is_file()]
    assert keys
    assert not any(key.encode() in text for key in keys for text in [*written, out.encode(), err.encode()])
    assert (folder / "service-1" / "console-token").stat().st_mode & 0o077 == 0
    assert multiprocessing.active_children() == []


def _noting(keys: list[str]) -> object:
    from studies.service.keys import NewKey, new_key

    def noted(path: Path, fields: dict[str, object]) -> NewKey:
        made = new_key(path, fields)
        keys.append(made.text)
        return made

    return noted


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_the_console_stays_until_the_command_ends(how: signal.Signals, code: int, folder: Path) -> None:
    command = [sys.executable, "-m", "studies.cli.entry", "demo", "--service", "--keep", "--out", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = next(filter(None, (re.search(r"console: (http\S+:(\d+))/", line) for line in process.stdout)))
        token = (folder / "service-1" / "console-token").read_text().strip()
        form = urllib.request.Request(f"{found[1]}/console/login", f"token={token}".encode())
        form.add_header("Origin", found[1])
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        assert "the demo" in opener.open(form, timeout=20).read().decode()
        process.stdout.readline()  # from here on it waits
        process.send_signal(how)
        rest = process.stdout.read()  # ends when no process holds the pipe any more
    assert process.returncode == code
    assert ("no mismatch" in rest) == (code == 0)
    deadline = time.monotonic() + 20
    while _listens(int(found[2])):
        assert time.monotonic() < deadline, "the service outlives the command"
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def test_each_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    from studies.cli.demo_service import _new_folder

    assert [_new_folder(tmp_path / "out").name for _ in range(3)] == ["service-1", "service-2", "service-3"]


@pytest.mark.parametrize("module", ["studies.service.serving", "oracles.remote.transport"])
def test_missing_extras_are_named_before_anything_is_trained(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "studies.cli.demo_service", raising=False)
    monkeypatch.delattr("oracles.remote.transport", raising=False)
    assert main(["demo", "--service", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "b3d-simkit[serve,remote]" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_keep_is_for_the_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--keep", "--out", str(tmp_path / "out")]) == 2
    assert "--service" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
