from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from oracles.errors import ModelError
from simkit.errors import ConfigError
from simkit.references import referred
from studies.scan.user_code import import_model, source_sha256

NUMBERS = itertools.count()

CODE = """
class Inner:
    @staticmethod
    def answer(images):
        return images

def plain(images):
    return images
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current folder, under a name that nothing was imported by yet."""
    name = f"simkit_test_model_{next(NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    return name


def test_a_function_of_the_current_folder_is_found(module: str) -> None:
    assert import_model(f"python:{module}:plain")(3) == 3
    assert import_model(f"python:{module}:Inner.answer")(3) == 3


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("python:", "write python:package.module:function"),
        ("python:json", "write python:package.module:function"),
        ("python:json:", "write python:package.module:function"),
        ("python:json:no_such", "json has no no_such"),
        ("python:no_such_module:f", "cannot import no_such_module: ModuleNotFoundError"),
        ("python:..:f", "cannot import"),
    ],
)
def test_what_cannot_be_imported_is_one_line(address: str, says: str) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        import_model(address)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", ["1 / 0", "raise ValueError('a\\nb')", "import sys; sys.exit(0)", "def f(:"])
def test_a_module_that_fails_when_imported_is_told_in_one_line(module: str, code: str) -> None:
    Path(f"{module}.py").write_text(code)
    with pytest.raises(ModelError, match=f"cannot import {module}: .*Error|SystemExit") as caught:
        import_model(f"python:{module}:f")
    with pytest.raises(ConfigError, match=f"cannot import {module}: .*Error|SystemExit") as refused:
        referred(f"{module}:f")
    assert "\n" not in f"{caught.value}{refused.value}"


def test_a_hash_is_of_the_module_that_names_a_model_made_elsewhere(module: str, tmp_path: Path) -> None:
    file = tmp_path / f"{module}.py"
    file.write_text("from functools import partial\nask = partial(print, 'http://one')\n")
    address = f"python:{module}:ask"
    function = import_model(address)
    first = source_sha256(address, function)
    file.write_text("from functools import partial\nask = partial(print, 'http://two')\n")
    assert source_sha256(address, function) != first
    assert source_sha256(address, function, "weights") != source_sha256(address, function)


def test_a_hash_is_of_the_address_and_of_the_file(module: str, tmp_path: Path) -> None:
    function = import_model(f"python:{module}:plain")
    first = source_sha256("a", function)
    assert first == source_sha256("a", function)
    assert first != source_sha256("b", function)
    (tmp_path / f"{module}.py").write_text(CODE + "\n")
    assert source_sha256("a", function) != first
    assert len(source_sha256("a", 3)) == 64
