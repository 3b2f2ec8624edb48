"""Output that is closed, full, cut off or hostile: one clear line, and the right exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from db.ledger import Ledger
from studies.cli.main import BAD_INPUT, INTERRUPTED, READER_GONE, STORAGE, USAGE, main
from studies.cli.output import echo, print_json, print_table, say
from studies.render.text import printable

ENTRY = [sys.executable, "-m", "studies.cli.entry"]


def _default_interrupt() -> None:
    """A shell that runs the tests in the background has its children ignore interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def shell(command: str) -> subprocess.CompletedProcess[str]:
    quoted = f'"{sys.executable}" -m studies.cli.entry'
    script = f'simkit() {{ {quoted} "$@"; }}; {command}'
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["bash", "-c", script], env=buffered, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.process
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("simkit detectors > /dev/full", STORAGE),
        ("simkit --help > /dev/full", STORAGE),
        ("simkit db runs LEDGER > /dev/full", STORAGE),
        ("simkit db runs LEDGER >&-", 0),
        ("simkit nonsense 2>&-", USAGE),
        ("simkit nonsense 2> /dev/full", USAGE),
        ("simkit db runs LEDGER > /dev/full 2> /dev/full", STORAGE),
        ("simkit db runs LEDGER >&- 2>&-", 0),
        ("simkit --version > /dev/full", STORAGE),
        ("simkit db runs LEDGER --json > /dev/full", STORAGE),
        ("simkit scan missing.pt --data digits --budget 9 --json > /dev/full", BAD_INPUT),
        ("simkit scan missing.pt --data digits --budget 9 2> /dev/full", BAD_INPUT),
    ],
)
def test_streams_that_are_full_or_closed(command: str, code: int, tmp_path: Path) -> None:
    Ledger.open(tmp_path / "scan.db").close()
    done = shell(command.replace("LEDGER", str(tmp_path / "scan.db")))
    assert done.returncode == code, done.stderr
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 1


@pytest.mark.process
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(tmp_path: Path) -> None:
    lines = (
        "import sys",
        "from studies.cli.main import app, main",
        "from studies.cli.output import echo",
        "app.command('many')(lambda: [echo('x' * 1000) for _ in range(10_000)] and None)",
        "sys.exit(main(['many']))",
    )
    code = "\n".join(lines)
    (tmp_path / "many.py").write_text(code)
    done = shell(f'"{sys.executable}" "{tmp_path}/many.py" | head -1 | wc -c; echo "${{PIPESTATUS[0]}}"')
    assert (done.stdout.split(), done.stderr) == (["1001", str(READER_GONE)], "")


@pytest.mark.process
@pytest.mark.parametrize("after", [0.0, 0.05, 0.2, 0.6])
def test_an_interrupt_while_importing_is_one_line(after: float) -> None:
    command = "import sys; print('on', flush=True); from studies.cli.entry import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", command, "scan", "missing.pt", "--data", "digits", "--budget", "9"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_default_interrupt,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode in (INTERRUPTED, BAD_INPUT, -signal.SIGINT), said
    assert "bug" not in said
    assert not after or ("Traceback" not in said and said.count("\n") <= 1)


INTERRUPTED_MODULE = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
except BaseException:
    pass
raise AttributeError("half a module")
"""


@pytest.mark.process
@pytest.mark.parametrize("module", ["typer", "numpy", "torch", "pydantic", "sqlalchemy"])
def test_an_interrupt_is_not_lost_in_a_module_that_swallows_it(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text(INTERRUPTED_MODULE)
    command = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from studies.cli.entry import main; sys.exit(main())"
    arguments = ["scan", "missing.pt", "--data", "digits", "--budget", "9"]
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=_default_interrupt,
    )
    assert (done.returncode, done.stderr) == (INTERRUPTED, "simkit: error: interrupted\n")


TWICE = """
import os, signal, sys
from studies.cli import entry, main
say = main._say
main._say = lambda text: (say(text), os.kill(os.getpid(), signal.SIGINT))
main.app.command("stop")(lambda: os.kill(os.getpid(), signal.SIGINT))
sys.argv = ["simkit", "stop"]
sys.exit(entry.main())
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_second_interrupt_is_not_told_again() -> None:
    command = [sys.executable, "-c", TWICE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=_default_interrupt)
    said = "simkit: error: interrupted; the same command resumes from what is stored\n"
    assert (done.returncode, done.stderr) == (INTERRUPTED, said)


@pytest.mark.process
@pytest.mark.parametrize(("heeds", "code"), [(signal.SIG_DFL, -signal.SIGINT), (signal.SIG_IGN, 0)])
def test_an_interrupt_after_the_command_has_no_traceback(heeds: signal.Handlers, code: int) -> None:
    lines = (
        "import atexit, os, signal, sys",
        "from studies.cli.entry import main",
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))",
        "sys.argv.append('--version')",
        "sys.exit(main())",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, heeds),
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith("simkit ")


@pytest.mark.parametrize("name", ["x" * 300, "y" * 5000, "a/" * 2000])
@pytest.mark.parametrize(
    "command", [("data", "show"), ("db", "runs"), ("study", "table"), ("report",), ("zoo", "list")]
)
def test_names_that_are_too_long_are_one_line(
    command: tuple[str, ...], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, name]) in (USAGE, BAD_INPUT, STORAGE)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "bug" not in said


HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b31m\r‮gpj.exe\x00"


def test_no_escape_sequence_reaches_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    echo(HOSTILE)
    echo(HOSTILE, err=True)
    say(HOSTILE)
    print_table([{"model": HOSTILE}], ["model"])
    print_json({"model": HOSTILE})
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert not set(text) & set("\x1b\x07\x9b\r\x00‮")
    assert r"\x1b[2J" in said.out


def test_json_stays_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"model": HOSTILE, "é": 1})
    assert json.loads(capsys.readouterr().out) == {"model": HOSTILE, "é": 1}


def test_text_that_no_encoding_holds_is_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("a\udcffb\tc\n") == "a\\udcffb\tc\n"
    echo("\udcff")
    assert capsys.readouterr().out == "\\udcff\n"
