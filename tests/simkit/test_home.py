"""Where state lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from simkit.home import home


def test_the_environment_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIMKIT_HOME", str(tmp_path))
    assert home() == tmp_path


@pytest.mark.parametrize("unset", [None, ""])
def test_without_it_the_users_home(unset: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if unset is None:
        monkeypatch.delenv("SIMKIT_HOME", raising=False)
    else:
        monkeypatch.setenv("SIMKIT_HOME", unset)
    assert home() == tmp_path / ".simkit"
