"""Bad values of the options that take no whole number: one line, nothing written; no option is without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from db.ledger import Ledger
from studies.cli.main import app
from tests.studies.cli.test_bad_inputs import COMMANDS, COUNTED, READS, SETTINGS, check
from tests.studies.tune.files import tune_zoo, written

pytestmark = [pytest.mark.slow, pytest.mark.process]

SERVICE = ("scan", "http://127.0.0.1:9/v2/models/m", "--data", "digits", "--budget", "99")
SERVE = ("serve", "zoo:0", "--keys", "missing.toml", "--db", "provider.db")
SCAN = ("scan", "zoo:0", "--data", "digits", "--budget", "99")
LINES = ("study", "scan", "zoo", "--detector", "race", "--out", "a.jsonl")

OPTIONS: Mapping[tuple[str, ...], Mapping[str, tuple[str, ...]]] = {
    SCAN: {
        "--output-item": ("x", "-1"),
        "--input-layout": ("", "HWCN", "nchw "),
        "--input-dtype": ("", "complex", "float8"),
        "--architecture": ("", "nothing", "torchvision:nothing"),
        "--refine": ("-1", "x", "1.5"),
        "--prior": ("0", "1", "-0.1", "nan", "x"),
        "--settings": ("missing.toml", "."),
        "--restriction": ("", "x", "no.such:X"),
        "--db": ("/dev/null", ".", "/proc/self/x/y.db"),
        "--out": ("/dev/null/x", "/proc/self/x"),
    },
    SERVICE: {
        "--api-key-env": ("", "SIMKIT_NO_SUCH_VARIABLE"),
        "--api-key-file": ("missing.txt", "."),
        "--in-flight": ("0", "65", "x"),
        "--pace": ("", "0", "10/fortnight"),
        "--endpoint": ("", "ftp://x", "x y"),
        "--class-names": ("", "a", "a,a"),
        "--n-classes": ("1", "x"),
    },
    SERVE: {
        "--config": ("missing.toml", "."),
        "--keys": ("missing.toml", "."),
        "--db": ("/dev/null", "."),
        "--oracle": ("", "top0"),
        "--name": ("", "a/b"),
        "--classes": ("", "a", "a,a"),
        "--image-shape": ("", "1,8", "0,8,8", "x"),
        "--max-batch": ("0", "x"),
        "--set": ("", "nothing=1"),
        "--host": ("", "0.0.0.0"),
        "--port": ("-1", "65536", "x"),
        "--tls-certificate": ("missing.pem",),
        "--tls-key": ("missing.pem",),
    },
    ("keys", "new", "--keys", "keys.toml", "--name", "a"): {
        "--keys": (".", "/dev/null", "/proc/self/x/keys.toml"),
        "--name": ("", "x" * 101),
        "--budget": ("-1", "x"),
        "--rate": ("", "0/second", "10/fortnight"),
        "--oracle": ("", "top0"),
        "--price": ("", "1", "-1USD", "nanUSD"),
        "--expires": ("", "soon", "2020-13-01"),
        "--model": ("", "a/b"),
    },
    ("keys", "list", "--keys", "missing.toml"): {"--keys": ("missing.toml", ".", "/dev/null")},
    ("keys", "top-up", "abcdefgh", "5", "--keys", "missing.toml"): {"--keys": ("missing.toml", ".", "/dev/null")},
    ("keys", "revoke", "abcdefgh", "--keys", "missing.toml"): {"--keys": ("missing.toml", ".", "/dev/null")},
    ("keys", "pardon", "abcdefgh", "--keys", "missing.toml"): {"--keys": ("missing.toml", ".", "/dev/null")},
    ("replay", "a.db"): {
        "--rule": ("", "nothing", "x=y"),
        "--at": ("0", "-1", "x"),
        "--preset": ("", "nothing"),
        "--model": ("", "missing.pt"),
        "--data": ("", "nothing"),
        "--restriction": ("", "x"),
    },
    ("report", "a.db"): {"--zoo": ("missing",), "--out": (".", "/proc/self/x.html")},
    ("mitigate", "a.db"): {
        "--threshold": ("x", "nan", "2"),
        "--oracle": ("", "top0"),
        "--model": ("missing.pt",),
        "--data": ("nothing",),
        "--zoo": ("missing",),
        "--restriction": ("x",),
        "--db": ("a.db",),
    },
    ("zoo", "make", "--preset", "cifar10", "--split", "tune"): {
        "--preset": ("", "nothing"),
        "--split": ("", "train"),
        "--size": ("0", "x", "1x"),
        "--indices": ("", "x", "3-1", "-1"),
        "--set": ("", "=", "nothing=1", "models=0", "train.rate=x"),
        "--data": ("nothing",),
    },
    ("study", "new"): {"--example": ("", "nothing")},
    ("study", "watch", "zoo", "--out", "a.jsonl"): {
        "--out": (".", "/proc/self/x.jsonl"),
        "--calibrate": ("", "missing"),
        "--data": ("", "nothing"),
        "--figure": (".",),
        "--limit": ("0", "x"),
        "--set": ("", "=", "nothing=1", "budget=0", "dodges=nothing", "actions=nothing"),
    },
    ("study", "run", "study.toml"): {"--executor": ("threads",)},
    LINES: {
        "--oracle": ("", "top0"),
        "--executor": ("", "threads"),
        "--indices": ("", "x", "3-1", "-1"),
        "--set": ("", "nothing=1"),
        "--data": ("nothing",),
        "--detector": ("", "nothing", "no.such:X"),
        "--ledgers": ("/dev/null",),
        "--out": ("/dev/full", "."),
    },
    ("study", "table", "a.jsonl"): {
        "--format": ("", "pdf"),
        "--split": ("", "train"),
        "--by": ("", "colour"),
        "--out": ("x.pdf", "."),
        "--zoo": ("", "nothing"),
        "--ledgers": ("missing",),
        "--prior": ("0", "1", "-0.1", "nan", "x"),
    },
    ("study", "leaderboard", "a.jsonl"): {
        "--format": ("", "pdf"),
        "--split": ("", "train"),
        "--out": ("x.pdf", "."),
        "--zoo": ("", "nothing"),
    },
    ("study", "budget", "a.jsonl"): {
        "--exact": ("x",),
        "--format": ("", "pdf"),
        "--split": ("", "train"),
        "--by": ("", "colour"),
        "--budgets": ("", "x", "0", "5,3,x"),
        "--undecided-as": ("", "maybe"),
        "--price": ("x", "-1", "nan", "1", "-1USD", "nanUSD"),
        "--measure": ("", "luck"),
        "--figure": ("x.exe",),
        "--out": ("x.pdf",),
        "--zoo": ("nothing",),
        "--detector": ("nothing",),
        "--ledgers": ("missing",),
        "--data": ("nothing",),
    },
    ("study", "tune", "study.toml", "--at", "450"): {
        "--at": ("0", "x"),
        "--sampler": ("", "luck"),
        "--storage": ("nothing", "x://y"),
        "--best": ("missing/x.toml", "."),
        "--plots": ("/dev/null",),
    },
    ("study", "gallery", "zoo", "--ledgers", "missing"): {
        "--data": ("nothing",),
        "--detector": ("nothing",),
        "--out": ("/dev/null",),
    },
    ("study", "report", "study.toml"): {"--out": ("/dev/null",), "--storage": ("nothing",), "--exact": ("x",)},
    ("env", "record", "zoo", "--out", "recorded"): {
        "--indices": ("", "x", "3-1"),
        "--set": ("", "nothing=1"),
        "--oracle": ("", "top0"),
        "--out": ("/dev/null",),
    },
    ("env", "compare", "a", "--tune", "b"): {
        "--policies": ("", "nothing"),
        "--budget-grid": ("", "x", "0"),
        "--baseline": ("", "nothing"),
        "--out": (".",),
    },
    ("data", "show", "digits"): {"--set": ("", "nothing=1", "image_size=0")},
    ("import", "backdoorbench", "missing"): {"--out": ("/dev/null",), "--name": ("", "a b")},
    ("import", "trojanzoo", "missing"): {"--out": ("/dev/null",), "--name": ("", "a b")},
    ("bench",): {"--data": ("", "nothing")},
    ("demo",): {"--out": ("/dev/null", "/proc/self/x")},
}
OF_EACH_VICTIM = {(("env", "record"), "--data")}
"""Wrong for one victim after the other, as a failing scan is: exit code 1."""

CASES = [
    (command, option, value)
    for command, options in OPTIONS.items()
    for option, values in options.items()
    for value in values
]


@pytest.fixture(autouse=True)
def _elsewhere(demo_victims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a zoo, a study, a ledger and a file of results, so that the option alone is wrong."""
    for name in ("here", "home"):
        (tmp_path / name).mkdir()
    tune_zoo(demo_victims, tmp_path / "here")
    written(tmp_path / "here")
    (tmp_path / "here" / "a.jsonl").touch()
    Ledger.open(tmp_path / "here" / "a.db").close()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("SIMKIT_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(("command", "option", "value"), CASES)
def test_values_that_are_none(
    command: tuple[str, ...], option: str, value: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    check((*command, option, value), capsys, tmp_path)


def _valued(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """The options of all commands that take a value."""
    for name, below in getattr(command, "commands", {}).items():
        yield from _valued(below, (*path, name))
    for param in getattr(command, "params", ()) if path in COMMANDS else ():
        if param.opts[0].startswith("--") and not getattr(param, "is_flag", False):
            yield path, param.opts[0]


def test_every_option_has_a_bad_value() -> None:
    rows = [(*command, *options) for table in (COUNTED, OPTIONS) for command, options in table.items()]
    rows += [*READS, *(("scan", *settings) for settings in SETTINGS)]
    given = OF_EACH_VICTIM | {
        (path, word) for path in COMMANDS for row in rows if row[: len(path)] == path for word in row
    }
    assert [both for both in _valued(typer.main.get_command(app)) if both not in given] == []
    assert len(CASES) >= 100
