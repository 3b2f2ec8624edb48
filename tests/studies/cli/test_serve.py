"""`simkit serve`: what it is told comes to the service, and each mistake is one line before anything is written."""

from __future__ import annotations

import signal
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from db.check import check
from oracles.spec import OracleSpec
from studies.cli.main import main
from studies.cli.serve import _name_of
from studies.service import serving
from studies.service.config import ServiceConfig
from studies.service.keys import new_key
from tests.studies.service.running import MODEL, running


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[ServiceConfig]:
    """The services that the command was told to run, in an empty folder."""
    found: list[ServiceConfig] = []
    monkeypatch.setattr(serving, "serve", lambda config, *_: found.append(config))
    monkeypatch.chdir(tmp_path)
    return found


def test_options_make_the_service(asked: list[ServiceConfig], tmp_path: Path) -> None:
    options = ["--keys", "k.toml", "--db", "p.db", "--oracle", "top3", "--port", "0", "--max-batch", "8"]
    more = ["--classes", "cat,dog", "--image-shape", "3,8,9", "--set", "mean=[0.5,0.5,0.5]", "--host", "::1"]
    assert main(["serve", "models/cats.onnx", *options, *more]) == 0
    (config,) = asked
    (entry,) = config.model
    assert (config.address, config.keys, config.db) == (("::1", 0), str(tmp_path / "k.toml"), str(tmp_path / "p.db"))
    assert (entry.name, entry.file) == ("cats", str(tmp_path / "models" / "cats.onnx"))
    assert (entry.oracle, entry.max_batch, entry.classes) == (OracleSpec(top_k=3), 8, ("cat", "dog"))
    assert (entry.image_shape, entry.settings) == ((3, 8, 9), {"mean": [0.5, 0.5, 0.5]})


def test_a_file_makes_the_service(asked: list[ServiceConfig], tmp_path: Path) -> None:
    text = 'db = "p.db"\nkeys = "k.toml"\n[[model]]\nname = "a"\nfile = "a.pt"\n[[model]]\nname = "b"\nfile = "b.pt"\n'
    (tmp_path / "service.toml").write_text(text)
    assert main(["serve", "--config", "service.toml"]) == 0
    assert [entry.name for entry in asked[0].model] == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--keys", "k.toml", "--db", "p.db"], "no MODEL"),
        (["m.pt", "--db", "p.db"], "--keys"),
        (["m.pt", "--keys", "k.toml"], "--db"),
        (["m.pt", "--config", "s.toml"], "s.toml: cannot be read"),
        (["--config", "s.toml", "--port", "1"], "s.toml: cannot be read"),
        (["--config", "s.toml"], "s.toml"),
        (["m.pt", "--keys", "k.toml", "--db", "p.db", "--image-shape", "3x8x8"], "--image-shape"),
        (["m.pt", "--keys", "k.toml", "--db", "p.db", "--host", "0.0.0.0"], "in the clear"),
        (["m.pt", "--keys", "k.toml", "--db", "p.db", "--host", "192.0.2.1"], "in the clear"),
        (["m.pt", "--keys", "k.toml", "--db", "p.db", "--tls-key", "x.pem"], "belong together"),
        (["m.pt", "--keys", "k.toml", "--db", "p.db", "--classes", "a"], "two classes"),
        (["m.pt", "--keys", "k.toml", "--db", "p.db", "--oracle", "top99x"], "top99x"),
        (["m.pt", "--keys", "k.toml", "--db", "p.db", "--name", "a/b"], "name"),
        (["m.pt", "--keys", "k.toml", "--db", "p.db", "--set", "nothing"], "nothing"),
    ],
)
def test_a_mistake_is_one_line(
    options: list[str], words: str, asked: list[ServiceConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *options]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert (asked, list(tmp_path.iterdir())) == ([], [])


def test_beyond_this_machine_with_a_proxy(asked: list[ServiceConfig]) -> None:
    assert main(["serve", "m.pt", "--keys", "k.toml", "--db", "p.db", "--host", "0.0.0.0", "--behind-proxy"]) == 0
    assert asked[0].address == ("0.0.0.0", 8000)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("cats.onnx", "cats"),
        ("a/b/my cats.v2.pt", "my-cats.v2"),
        ("zoo:7", "zoo-7"),
        ("python:package.models:MODEL", "MODEL"),
        ("x" * 200, "x" * 64),
    ],
)
def test_the_name_of_a_model_by_its_file(file: str, name: str) -> None:
    assert _name_of(file) == name


def test_a_missing_extra_is_named(
    asked: list[ServiceConfig], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "studies.service.serving", None)
    assert main(["serve", "m.pt", "--keys", "k.toml", "--db", "p.db"]) == 2
    assert "b3d-simkit[serve]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, 2),  # no file of keys
        ({"keys": "k.toml", "file": "missing.pt"}, 4),
        ({"keys": "k.toml", "db": "text.db"}, 5),
    ],
)
def test_what_cannot_be_opened_is_said_before_a_connection(
    change: dict[str, str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    new_key(tmp_path / "k.toml", {"name": "a lab"})
    (tmp_path / "text.db").write_text("no ledger")
    monkeypatch.setattr(serving, "run", _never)
    given: dict[str, Any] = {"keys": "none.toml", "db": "p.db", "file": MODEL} | change
    assert main(["serve", given["file"], "--keys", given["keys"], "--db", given["db"]]) == code
    assert (tmp_path / "text.db").read_text() == "no ledger"
    assert not (tmp_path / "p.db").exists()


def _never(*_: object) -> None:
    raise AssertionError("it must not serve")


@pytest.mark.process
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_it_says_where_it_is_and_ends_cleanly(
    how: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with running(tmp_path, fresh=True) as service:
        second = main(["serve", MODEL, "--keys", "keys.toml", "--port", "0", "--db", "provider.db"])
        urllib.request.urlopen(f"{service.url}/health", timeout=60).close()  # from here on it heeds signals
        assert (second, capsys.readouterr().err.count("\n")) == (5, 1)  # one process owns a ledger
        code, told = service.stop(how)
    assert code == 0
    assert "/v2/models/{model}/infer" in told
    assert told.endswith("stopped; the ledger is closed\n")
    assert (tmp_path / "errors").read_text() == ""
    assert not list(tmp_path.glob("provider.db-*"))
    assert check(tmp_path / "provider.db") == []


@pytest.mark.process
def test_an_admin_token_opens_a_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "a-token-for-the-console-of-a-test"
    monkeypatch.setenv("SIMKIT_CONSOLE_TOKEN", token)
    with running(tmp_path, fresh=True) as service:
        form = urllib.request.Request(f"{service.url}/console/login", f"token={token}".encode())
        form.add_header("Origin", service.url)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        page = opener.open(form, timeout=20).read().decode()
        code, told = service.stop(signal.SIGINT)
    assert code == 0
    assert "<h1>Keys and models</h1>" in page
    assert f"the console, for the admin token: {service.url}/console\n" in told
    assert token not in page + told + (tmp_path / "errors").read_text()
    assert check(tmp_path / "provider.db") == []


def test_a_token_that_could_be_guessed_ends_it_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIMKIT_CONSOLE_TOKEN", "guess")
    assert main(["serve", MODEL, "--keys", "k.toml", "--db", "p.db"]) == 2
    assert capsys.readouterr().err.startswith("simkit: error: SIMKIT_CONSOLE_TOKEN: an admin token has 24")
    assert list(tmp_path.iterdir()) == []


def test_a_console_of_a_shared_database_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIMKIT_CONSOLE_TOKEN", "a-token-for-the-console-of-a-test")
    assert main(["serve", MODEL, "--keys", "k.toml", "--db", "postgresql://nobody@localhost/none"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("simkit: error: the console reads a ledger")
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (["m.pt"], "file"),
        (["--db", "p.db", "--port", "0"], "db, listen"),
        (["--host", "::1", "--port", "0"], "listen"),
        (["--behind-proxy", "--tls-key", "k.pem"], "behind_proxy, tls_key"),
        (["--image-shape", "3,8,8", "--max-batch", "2"], "image_shape, max_batch"),
    ],
)
def test_options_beside_a_file_are_named_as_in_the_file(
    options: list[str],
    fields: str,
    asked: list[ServiceConfig],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["serve", "--config", "s.toml", *options]) == 2
    assert "s.toml: cannot be read" in capsys.readouterr().err
    (tmp_path / "s.toml").touch()
    assert main(["serve", "--config", "s.toml", *options]) == 2
    assert f"set {fields} in s.toml" in capsys.readouterr().err
    assert asked == []


@pytest.mark.process
def test_a_port_that_is_taken_leaves_no_ledger_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    new_key(tmp_path / "k.toml", {"name": "a lab"})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["serve", MODEL, "--keys", "k.toml", "--db", "p.db", "--port", port]) == 2
    assert "cannot be listened on" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.glob("p.db*")) in ([], ["p.db.lock"])  # the lock is empty, and stays


@pytest.mark.process
def test_a_certificate_that_is_none_leaves_no_ledger_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    new_key(tmp_path / "k.toml", {"name": "a lab"})
    (tmp_path / "no.pem").touch()
    tls = ["--tls-certificate", "no.pem", "--tls-key", "no.pem"]
    assert main(["serve", MODEL, "--keys", "k.toml", "--db", "p.db", "--port", "0", *tls]) == 2
    assert not list(tmp_path.glob("p.db")) + list(tmp_path.glob("p.db-*"))
