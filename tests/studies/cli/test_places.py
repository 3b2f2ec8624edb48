"""Places that cannot be written, of whatever kind, are found before the first query and are not waited for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

import pytest

from db.errors import StorageBusy
from db.ledger import Ledger
from oracles.budget import Budget
from studies.cli.main import BAD_INPUT, STORAGE, USAGE, main
from studies.study.result_file import check_place
from tests.studies.tune.files import tune_zoo, written

pytestmark = [pytest.mark.slow, pytest.mark.process]

SECONDS = 60


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _below_a_file(path: Path) -> Path:
    path.write_text("a file")
    return path / "below"


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _dangling(path: Path) -> Path:
    path.symlink_to(path.parent / "nowhere" / "below")
    return path


def _loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


def _beside(ending: str, make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def made(path: Path) -> Path:
        make(path.with_name(f"{path.name}{ending}"))
        return path

    return made


def _unchangeable(path: Path) -> Path:
    """A file that not even root may write, where the file system knows of such."""
    path.write_text("")
    if shutil.which("chattr") is None or subprocess.run(["chattr", "+i", path], capture_output=True).returncode:
        pytest.skip("needs a file system with immutable files, and the right to make them")
    return path


PLACES: Mapping[str, Callable[[Path], Path]] = {
    "a folder": _folder,
    "/dev/full": lambda path: Path("/dev/full"),
    "/dev/null": lambda path: Path("/dev/null"),
    "/proc": lambda path: Path("/proc/self/new/x"),
    "below a file": _below_a_file,
    "a pipe": _fifo,
    "a link to nowhere": _dangling,
    "a link to itself": _loop,
    "an unchangeable file": _unchangeable,
}
LEDGERS: Mapping[str, Callable[[Path], Path]] = {
    **{name: make for name, make in PLACES.items() if name != "a link to nowhere"},
    "a folder as its lock": _beside(".lock", _folder),
    "a pipe as its log": _beside("-wal", _fifo),
    "a pipe as its shared memory": _beside("-shm", _fifo),
    "a pipe as its journal": _beside("-journal", _fifo),
    "a folder as its journal": _beside("-journal", _folder),
}
"""A ledger is created behind a link that leads to a new name."""
FOLDERS = {name: make for name, make in PLACES.items() if name != "a folder"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder to stand in; a query is a failure; nothing is waited for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIMKIT_HOME", str(tmp_path / "home"))

    def reserve(*_: object) -> None:
        raise AssertionError("a query was sent before the place was tried")

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"still waiting after {SECONDS} s")

    monkeypatch.setattr(Budget, "reserve", reserve)
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    for path in tmp_path.iterdir():
        if path.is_file() and not path.is_symlink():
            subprocess.run(["chattr", "-i", path], capture_output=True, check=False)


def refused(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    code = main(args)
    said = capsys.readouterr().err
    assert code in (USAGE, BAD_INPUT, STORAGE), (code, said)
    lines = [line for line in said.splitlines() if not line.startswith("simkit: warning: on images of 8x8 ")]
    assert [line[:15] for line in lines] == ["simkit: error: "], said
    assert "bug" not in said
    return said


def scan_of(zoo: Path, *args: str) -> list[str]:
    return ["scan", f"{zoo}:0", "--data", "digits", "--budget", "9999", *args]


@pytest.mark.parametrize("place", LEDGERS)
def test_ledgers(place: str, demo_victims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = LEDGERS[place](tmp_path / "x.db")
    assert str(at.parent) in refused(scan_of(demo_victims / "zoo", "--db", str(at)), capsys)


READERS = (
    ("report", "x.db"),
    ("replay", "x.db"),
    ("mitigate", "x.db"),
    ("db", "check", "x.db"),
    ("db", "runs", "x.db"),
    ("db", "upgrade", "x.db"),
    ("db", "export", "x.db", "--parquet", "exported"),
    ("db", "merge", "merged.db", "x.db"),
)


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_no_reader_waits_for_a_pipe_beside_a_ledger(
    command: tuple[str, ...], suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Ledger.open(tmp_path / "x.db").close()
    _fifo(tmp_path / f"x.db{suffix}")
    assert f"x.db{suffix}: is no regular file" in refused(list(command), capsys)


def test_a_pipe_as_a_lock_is_a_lock(tmp_path: Path) -> None:
    _fifo(tmp_path / "x.db.lock")
    with Ledger.open(tmp_path / "x.db"), pytest.raises(StorageBusy):
        Ledger.open(tmp_path / "x.db")


@pytest.mark.parametrize("command", [("report", "x.db"), ("study", "table", "x.jsonl")], ids=" ".join)
def test_a_link_to_itself_as_output(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused([*command, "--out", str(_loop(tmp_path / "x.html"))], capsys)


def test_trying_a_file_of_results_leaves_nothing(tmp_path: Path) -> None:
    check_place(tmp_path / "r.jsonl")
    assert not (tmp_path / "r.jsonl").exists()
    (tmp_path / "r.jsonl").write_text("kept")
    check_place(tmp_path / "r.jsonl")
    assert (tmp_path / "r.jsonl").read_text() == "kept"


@pytest.mark.parametrize("place", FOLDERS)
def test_folders_for_triggers(
    place: str, demo_victims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = FOLDERS[place](tmp_path / "x")
    assert str(at.parent) in refused(scan_of(demo_victims / "zoo", "--db", "x.db", "--out", str(at)), capsys)


@pytest.mark.parametrize("place", [*PLACES, "a folder as its lock"])
def test_files_of_results(place: str, demo_victims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ({**PLACES, **LEDGERS})[place](tmp_path / "x.jsonl")
    args = ["study", "scan", str(demo_victims / "zoo"), "--detector", "race", "--out", str(at)]
    assert str(at.parent) in refused(args, capsys)


@pytest.mark.parametrize("place", FOLDERS)
def test_folders_of_ledgers(place: str, demo_victims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = FOLDERS[place](tmp_path / "x")
    args = ["study", "scan", str(demo_victims / "zoo"), "--detector", "race", "--out", "r.jsonl", "--ledgers", str(at)]
    assert str(at.parent) in refused(args, capsys)


@pytest.mark.parametrize("place", PLACES)
def test_tables_of_tuning(place: str, demo_victims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tune_zoo(demo_victims, tmp_path)
    at = PLACES[place](tmp_path / "x.db")
    refused(["study", "tune", str(written(tmp_path)), "--at", "450", "--storage", f"sqlite:///{at}"], capsys)
