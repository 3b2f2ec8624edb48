"""The help page of every command says all that the code says, in any width."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from studies.cli.main import app, main


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    command = command or get_command(app)
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


EVERY = dict(commands())


def page(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*path, "--help"]) == 0
    return capsys.readouterr().out


def packed(text: str) -> str:
    """Without white space, since lines are broken anywhere."""
    return "".join(text.split())


def test_there_is_a_page_for_every_command() -> None:
    assert len(EVERY) > 30
    assert {("scan",), ("study", "tune"), ("db", "runs"), ("import", "trojanzoo")} <= EVERY.keys()


@pytest.mark.parametrize("width", [50, 80, 200])
@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_a_page_loses_no_word(
    path: tuple[str, ...], width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = packed(page(path, capsys))
    command = EVERY[path]
    assert packed(command.help) in shown
    for parameter in command.params:
        assert parameter.help, parameter.name
        assert packed(parameter.help) in shown, parameter.name
    for below in getattr(command, "commands", {}).values():
        assert packed(below.help.split("\n")[0].split(". ")[0].rstrip(".")) in shown


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_a_flag_takes_no_value(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    shown = page(path, capsys)
    assert "bool" not in shown
    for parameter in EVERY[path].params:
        if getattr(parameter, "is_flag", False):
            assert re.search(rf"^  {', '.join(parameter.opts)}(  |$)", shown, re.MULTILINE), parameter.name


def test_a_table_in_brackets_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    assert "A study file with a [tune] table." in page(("study", "tune"), capsys)
