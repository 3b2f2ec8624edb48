"""Bad input to every command and to `scan`: one line that says what to change, nothing written and nothing asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer

from db.errors import StorageError
from oracles.errors import InvalidImages, InvalidSpec, ModelError
from simkit.errors import ConfigError, DataError
from studies.cli.main import BAD_INPUT, STORAGE, USAGE, app, main
from studies.scan import scan
from tests.studies.scans import IMAGES, TemplateNet

pytestmark = [pytest.mark.slow, pytest.mark.process]

FILES: Mapping[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello\n"),
    "page": lambda path: path.write_text("<!DOCTYPE html><html><body>404</body></html>"),
    "pointer": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    "zeros": lambda path: path.write_bytes(bytes(4096)),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(4096)),
    "picture": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64)),
    "archive": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(64)),
    "database": lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(512)),
    "pickle": lambda path: path.write_bytes(b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94."),
    "nested": lambda path: path.write_text("[" * 20_000),
    "json": lambda path: path.write_text("{}"),
    "latin": lambda path: path.write_bytes("ä = 'ö'".encode("latin-1")),
    "folder": lambda path: path.mkdir(),
}

READS: tuple[tuple[str, ...], ...] = (
    ("scan", "FILE", "--data", "digits", "--budget", "99"),
    ("scan", "FILE.onnx", "--data", "digits", "--budget", "99"),
    ("scan", "FILE.safetensors", "--data", "digits", "--budget", "99"),
    ("scan", "FILE:3", "--data", "digits", "--budget", "99"),
    ("scan", "nothing.pt", "--data", "FILE", "--budget", "99"),
    ("scan", "nothing.pt", "--data", "FILE.npz", "--budget", "99"),
    ("scan", "nothing.pt", "--data", "digits", "--budget", "99", "--oracle", "FILE.toml"),
    ("scan", "nothing.pt", "--data", "digits", "--budget", "99", "--oracle", "FILE.json"),
    ("scan", "nothing.pt", "--data", "digits", "--budget", "99", "--settings", "FILE"),
    ("report", "FILE"),
    ("replay", "FILE"),
    ("mitigate", "FILE"),
    ("zoo", "make", "FILE", "--data", "digits", "--out", "zoo"),
    ("zoo", "list", "FILE"),
    ("study", "run", "FILE"),
    ("study", "status", "FILE"),
    ("study", "scan", "FILE", "--detector", "race", "--out", "lines.jsonl"),
    ("study", "table", "FILE"),
    ("study", "budget", "FILE"),
    ("study", "tune", "FILE"),
    ("study", "gallery", "FILE", "--ledgers", "ledgers"),
    ("study", "report", "FILE"),
    ("env", "record", "FILE", "--out", "recorded"),
    ("env", "compare", "FILE", "--tune", "FILE"),
    ("data", "show", "FILE"),
    ("db", "check", "FILE"),
    ("db", "runs", "FILE"),
    ("db", "upgrade", "FILE"),
    ("db", "export", "FILE", "--parquet", "exported"),
    ("db", "merge", "merged.db", "FILE"),
    ("import", "backdoorbench", "FILE", "--out", "imported"),
    ("import", "trojanzoo", "FILE", "--out", "imported"),
)
"""A command for each file that is read; FILE stands for one of `FILES`."""

MAY_BE = {
    ("empty", "study", "table"),
    ("empty", "study", "budget"),
    ("json", "zoo", "make"),
    ("folder", "db", "merge"),
}
"""Files that a command may take for what they are: no lines at all are no error of the file's form."""

WHOLE = ("x", "1.5", "", "1e5", "nan", "0x10", "٣x")
"""No whole numbers."""

COUNTED: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("scan", "a.pt", "--data", "digits"): ("--budget", "--seed", "--chunk", "--threads"),
    ("report", "a.db"): ("--run",),
    ("replay", "a.db"): ("--sample", "--seed"),
    ("mitigate", "a.db"): ("--run", "--images", "--budget", "--seed"),
    ("zoo", "make", "spec.toml", "--data", "digits"): ("--models", "--workers"),
    ("study", "run", "a.toml"): ("--workers",),
    ("study", "scan", "zoo", "--detector", "race", "--out", "a.jsonl"): (
        "--budget",
        "--workers",
        "--threads",
        "--limit",
    ),
    ("study", "budget", "a.jsonl"): ("--workers",),
    ("study", "tune", "a.toml"): ("--trials", "--sampler-seed", "--workers", "--trial"),
    ("study", "gallery", "zoo", "--ledgers", "ledgers"): ("--each",),
    ("study", "report", "a.toml"): ("--workers", "--each"),
    ("env", "record", "zoo", "--out", "recorded"): ("--workers", "--threads", "--limit"),
    ("db", "export", "a.db", "--parquet", "out"): ("--run",),
    ("bench",): ("--threads",),
}

PRESETS = ("", "B3D", "efficient", "slides", "nothing", "module:", ":X", "no.such:X", "os:path")
ORACLES = ("", "top0", "top-1", "topp3", "labels!", "{", "{}x", "[]", "3", "null", '{"a": 1}')
FIELDS = (
    *(("decimals", "-1"), ("decimals", "1.5"), ("top_k", "0"), ("top_k", '"x"'), ("score_noise", "-1")),
    *(("score_noise", "NaN"), ("input_noise", "Infinity"), ("threshold", "2"), ("label_only", '"maybe"')),
    *(("rate_limit", '"often"'), ("near_duplicate", "-1"), ("price_per_thousand", "-1"), ("seconds_per_call", "-1")),
)
SET = (
    *("", "=", "x", "budget", "nothing=1", "search.nothing=1", "search.first=0", "search.first=x", "search.first=1.5"),
    *("search=1", "driver.nothing=1", "driver.first_look=-1", "rule.name=nothing", "rule.nothing=1", "seed=-1"),
    *("search_images=0", "verify_images=0", "verify_images=true", "image_size=0", "image_size=99999", "image_size=x"),
    *("n_classes=1", "n_classes=2.5", "batch_limit=0", "chunk=0", "precision=double", "device=moon"),
    *("image_shape=[3]", "image_shape=[0,1,1]", "synthesis.draws=5", "mean=[]", "seed=99999999999999999999"),
)
SETTINGS: tuple[tuple[str, ...], ...] = (
    *(("--preset", name) for name in PRESETS),
    *(("--oracle", spec) for spec in ORACLES),
    *(("--oracle", f'{{"{name}": {value}}}') for name, value in FIELDS),
    *(("--output", name) for name in ("", "scores", "LOGITS")),
    *(("--precision", name) for name in ("", "float16", "int8")),
    *(("--mean", text, "--std", "1") for text in ("", "x", "nan", "inf", "1,,2", "1;2")),
    *(("--std", text, "--mean", "0") for text in ("0", "-1", "nan", "")),
    *(("--set", text) for text in SET),
)

UNKNOWN_WORDS = ("--no-such-option", "--budgett=3", "-Z")


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not hasattr(command, "commands"):
        yield path
        return
    for name, below in command.commands.items():
        yield from _commands(below, (*path, name))


COMMANDS = tuple(_commands(typer.main.get_command(app)))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to stand in, and one for simkit's own files."""
    for name in ("here", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("SIMKIT_HOME", str(tmp_path / "home"))


def check(args: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The command fails in one line, with the exit code of what was wrong, and leaves its folders as they were."""
    before = _files(tmp_path)
    code = main(list(args))
    said = capsys.readouterr()
    assert code in (USAGE, BAD_INPUT, STORAGE), (code, said.err)
    lines = [line for line in said.err.splitlines() if not line.startswith("simkit: warning")]
    assert [line[:15] for line in lines] == ["simkit: error: "], said.err
    assert "bug" not in said.err
    assert "Traceback" not in said.err
    assert _files(tmp_path) == before


def _files(folder: Path) -> list[Path]:
    """All but what SQLite keeps beside a ledger while it reads it."""
    return sorted(path for path in folder.rglob("*") if not path.name.endswith((".db-wal", ".db-shm")))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("word", UNKNOWN_WORDS)
def test_options_that_no_command_has(
    command: tuple[str, ...], word: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    check((*command, word), capsys, tmp_path)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_files_that_are_something_else(
    command: tuple[str, ...],
    kind: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if (kind, *command[:2]) in MAY_BE:
        pytest.skip("a file that may be this")
    if kind != "noise":  # which is opened in a process, whose refusals are those of this one
        request.getfixturevalue("read_here")
    file = next(word.partition(":")[0] for word in command if word.startswith("FILE"))
    FILES[kind](tmp_path / file)
    check(tuple(word.replace("FILE", str(tmp_path / "FILE")) for word in command), capsys, tmp_path)


@pytest.mark.parametrize("wrong", WHOLE)
@pytest.mark.parametrize(("command", "option"), [(c, option) for c, options in COUNTED.items() for option in options])
def test_numbers_that_are_none(
    command: tuple[str, ...], option: str, wrong: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    check((*command, option, wrong), capsys, tmp_path)


@pytest.mark.parametrize("command", SETTINGS, ids=" ".join)
def test_settings_of_a_scan(command: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    check(("scan", "a.pt", "--data", "digits", "--budget", "99", *command), capsys, tmp_path)


WRONG: Mapping[str, tuple[Any, ...]] = {
    "budget": (0, -1, True, 1.5, "9", math.nan, 10**30, [1]),
    "search_images": (0, -1, 10**6, True, 2.5),
    "verify_images": (0, -1, 10**6, "x"),
    "seed": (-1, 2**63, 0.5, None, "seed"),
    "preset": ("", "nothing", 3, None, ["race"]),
    "oracle": ("nothing", {"top_k": 0}, {"nothing": 1}, 3, ["label"], "missing.toml"),
    "data": ("digits", "missing", 3),
    "search": ({"nothing": 1}, {"rounds": 0}, {"rounds": "x"}, [], "x", {1: 2}),
    "rule": ({"name": "nothing"}, {"threshold": "x"}, {"threshold": math.inf}, 3),
    "driver": ({"nothing": 1}, {"check_images": -1}, {"first_look": "x"}),
    "mean": ("x", math.nan, 1.0),
    "output": ("scores",),
    "precision": ("half",),
    "device": ("moon",),
    "chunk": (0,),
    "nothing": (1,),
    "images": (
        *(torch.zeros(3), torch.zeros(0, 1, 12, 12), np.zeros((4, 1, 12, 12), complex), [1]),
        *(torch.full((200, 1, 12, 12), math.nan), torch.full((200, 1, 12, 12), 7.0)),
    ),
    "restriction": (3,),
    "name": (3,),
    "n_classes": (1, 9),
    "batch_limit": (0,),
    "architecture": (3,),
}
CALLS = [(name, value) for name, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CALLS, ids=lambda value: str(value)[:40])
def test_arguments_of_scan(name: str, value: Any, tmp_path: Path) -> None:
    model = TemplateNet(1)
    given: dict[str, Any] = {"images": IMAGES, "budget": 100, "preset": "random-patch"}
    given |= {"search_images": 64, "verify_images": 48}
    with pytest.raises((ConfigError, InvalidSpec, DataError, ModelError, InvalidImages, StorageError)) as caught:
        scan(model, db=tmp_path / "scan.db", **(given | {name: value}))
    assert "\n" not in str(caught.value)
    assert model.seen.images == 0, "asked for something that was wrong"
    assert not (tmp_path / "scan.db").exists()


def test_the_table_is_long_enough() -> None:
    files = len(FILES) * len(READS)
    numbers = len(WHOLE) * sum(map(len, COUNTED.values()))
    assert files + numbers + len(COMMANDS) * len(UNKNOWN_WORDS) + len(SETTINGS) + len(CALLS) >= 900
