"""How the command ends: one line an error, one exit code a kind of error."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import db.check  # noqa: F401 (first: what is imported while `reading` is patched would keep the patch)
from db.errors import NotALedger, StorageBusy, StorageError, UnknownRun
from oracles.errors import BudgetExhausted, InvalidImages, InvalidSpec, ModelError, ReplayMismatch
from simkit.errors import ConfigError, ContractError, DataError
from studies.cli.main import exit_code, main

ERRORS = [
    (ConfigError("sigma is -1"), 2),
    (InvalidSpec("no such restriction"), 2),
    (UnknownRun("which run?"), 2),
    (BudgetExhausted("scan", 5, 3), 3),
    (ModelError("not a model"), 4),
    (InvalidImages("values up to 255"), 4),
    (DataError("no images"), 4),
    (StorageError("the disk is full"), 5),
    (NotALedger("not a ledger"), 5),
    (StorageBusy("locked"), 5),
    (ReplayMismatch("other code"), 5),
    (ContractError("ask was called twice"), 1),
    (ZeroDivisionError("division by zero"), 1),
]
IDS = [type(error).__name__ for error, _ in ERRORS]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("SIMKIT_DEBUG", raising=False)
    return monkeypatch


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def reading(_path: object, older: bool = True) -> None:
        raise error

    monkeypatch.setattr("db.engine.reading", reading)
    return main(["db", "check", "ledger.db"])


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=IDS)
def test_every_error_is_one_line_and_its_exit_code(
    error: Exception, code: int, failing: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(error) == code
    assert fail_with(failing, error) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("simkit: error: ")
    assert err.count("\n") == 1
    assert str(error) in err


def test_a_message_of_many_lines_is_told_in_one(
    failing: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(failing, DataError("no\n  images"))
    assert capsys.readouterr().err == "simkit: error: no images\n"


def test_debug_shows_the_traceback(failing: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failing.setenv("SIMKIT_DEBUG", "1")
    assert fail_with(failing, DataError("no images")) == 4
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interrupt_says_how_to_go_on(failing: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert fail_with(failing, KeyboardInterrupt()) == 130
    err = capsys.readouterr().err
    assert "the same command resumes" in err
    assert err.count("\n") == 1


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"simkit {version('b3d-simkit')}\n"


@pytest.mark.parametrize("args", [["--help"], ["db", "--help"], ["db", "check", "--help"], ["db", "runs", "-h"]])
def test_help_is_no_error(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 0
    out, err = capsys.readouterr()
    assert "Usage:" in out
    assert err == ""


@pytest.mark.parametrize("args", [[], ["db"]])
def test_a_group_alone_shows_its_help(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    assert "Usage:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--no-such-flag"], "--no-such-flag"),
        (["no-such-command"], "no-such-command"),
        (["db", "check"], "FILE"),
        (["db", "runs", "a.db", "--jsonn"], "--jsonn"),
    ],
)
def test_bad_usage_is_one_line(args: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.startswith("simkit: error: ")
    assert err.count("\n") == 1


@pytest.mark.process
def test_help_needs_none_of_the_heavy_libraries() -> None:
    heavy = "{'torch', 'sqlalchemy', 'pandas', 'optuna', 'matplotlib', 'scipy'}"
    code = f"import sys; from studies.cli.main import main; main(['--help']); print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
