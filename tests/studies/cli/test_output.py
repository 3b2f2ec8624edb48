"""What is printed: whole tables in a pipe, JSON that parses, bars only on a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from contextlib import suppress

import pytest

from studies.cli.output import print_json, print_table, progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json_refuses_what_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="JSON"):
        print_json({"score": float("nan")})
    assert capsys.readouterr().out == ""


def test_json_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": "[é]", "runs": [1, None, 0.1]}
    print_json(value)
    assert json.loads(capsys.readouterr().out) == value


def test_a_table_in_a_pipe_cuts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    name = "[red]" + "m" * 150
    print_table(
        [{"name": name, "score": 1 / 3, "classes": [2, 5]}, {"name": None, "classes": []}], ("name", "score", "classes")
    )
    head, _, first, second = (line for line in capsys.readouterr().out.splitlines() if line.strip())
    assert head.split() == ["name", "score", "classes"]
    assert first.split() == [name, "0.333333", "2", "5"]
    assert second.split() == ["-", "-", "-"]


@pytest.mark.parametrize(
    ("terminal", "quiet", "shown"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_bar_only_where_someone_watches(
    terminal: bool, quiet: bool, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("training", quiet=quiet) as progress:
        progress(1, 2)
    assert ("training" in stream.getvalue()) == shown
    assert shown or stream.getvalue() == ""


BARS = """
from studies.cli.output import say, stacked_bars

with stacked_bars({"all": 2, "one": 2}) as advance:
    for number in range(2):
        advance("all")
        say(f"line {number}")
"""


@pytest.mark.process
def test_a_line_stands_above_the_bars_and_not_in_them() -> None:
    pty = pytest.importorskip("pty", reason="no terminals here")
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color"}
    with subprocess.Popen([sys.executable, "-c", BARS], stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        told = b""
        with suppress(OSError):  # Linux says so at the end
            while part := os.read(leader, 4096):
                told += part
        assert process.wait() == 0
    os.close(leader)
    assert [bool(re.search(rb"\x1b\[2K" + line + rb"\r\n", told)) for line in (b"line 0", b"line 1")] == [True, True]
