"""Settings of a scan in a TOML file."""

from __future__ import annotations

from pathlib import Path

import pytest

from simkit.errors import ConfigError
from studies.scan.settings_file import settings_from, settings_in


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_every_line_is_a_key_of_set(tmp_path: Path) -> None:
    file = written(tmp_path, 'preset = "b3d"\nbudget = 800\noracle.label_only = true\nsearch.sparsity.weight = 0.01\n')
    expected = {
        "preset": "b3d",
        "budget": 800,
        "oracle": {"label_only": True},
        "search": {"sparsity": {"weight": 0.01}},
    }
    assert settings_in(file) == settings_from(file) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("budgets = 5", "mine.toml: a scan has no setting 'budgets'; did you mean 'budget'?"),
        ('name = "s"\nsplit = "tune"', "mine.toml: a scan has no setting 'split'"),
        ("budget 5", "mine.toml: cannot be read: no TOML"),
        ('preset = "b3d"\nsearch.sampels = 5', "mine.toml: search has no setting 'sampels'"),
        ('preset = "b3d"\nsearch.sigma = "wide"', "mine.toml: search.sigma = 'wide'"),
        ('preset = "b4d"', "mine.toml: "),
        ('preset = "b3d"\nbudget = -1', "mine.toml: scan: budget"),
        ('preset = "b3d"\noracle = "top0"', "mine.toml: "),
        ('preset = "no_such_module:PRESET"', "no_such_module"),
    ],
)
def test_an_error_names_the_file_and_what_to_change(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from(written(tmp_path, text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", ["missing", "folder", "binary", "deep"])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, make: str) -> None:
    path = tmp_path / "mine.toml"
    if make == "folder":
        path.mkdir()
    elif make == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    elif make == "deep":
        path.write_text(f"search = {'[' * 100_000}")
    with pytest.raises(ConfigError, match=r"^mine.toml: cannot be read: "):
        settings_in(path)


def test_values_are_checked_where_the_file_names_their_preset(tmp_path: Path) -> None:
    assert settings_from(written(tmp_path, "search.sigma = 0.5")) == {"search": {"sigma": 0.5}}
