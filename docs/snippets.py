"""Runs what the documentation shows: every `python`, `sh` and `sql` block of the pages and of the README.

A pytest plugin: python -m pytest -p docs.snippets README.md docs. The blocks of a page run in order, in one namespace
and one temporary folder, where the page finds what the quickstart leaves; the examples are on the path.
`sql` runs on `scan.db`. What cannot run says so above itself: `<!--- skip: next "reason" -->`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from sybil import Example, Sybil
from sybil.parsers.myst import CodeBlockParser, SkipParser

from oracles.model_files.loading import load_model

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
QUICKSTART = ROOT / "docs" / "quickstart.md"
SHARED = "SIMKIT_DOCS_FOLDER"
KEPT = ("model.pt2", "scan.db")

README_NOT_RUN = {"python3 -m venv": "installs from the package index; CI runs both lines themselves"}
"""What a block of the README begins with, and why it is not run."""

README_READ_AS = {
    "path/to/cifar10": "digits",  # the data that it names is not here
    "simkit scan model.pt ": "simkit scan model.pt2 ",  # nor is the model
}


def pytest_configure(config: pytest.Config) -> None:
    """A folder for all workers of this test run."""
    if not hasattr(config, "workerinput"):
        os.environ[SHARED] = tempfile.mkdtemp(prefix="simkit-docs-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Nothing is left behind."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(SHARED))


def source(example: Example) -> str:
    """The block; in the README on the digits, since the data it names is not here."""
    text = str(example.parsed)
    if Path(example.path).name != "README.md":
        return text
    for start, why in README_NOT_RUN.items():
        if text.startswith(start):
            pytest.skip(why)
    for written, read in README_READ_AS.items():
        text = text.replace(written, read)
    return text


def in_python(example: Example) -> None:
    """Run a block in the page's namespace, with its line numbers."""
    code = "\n" * (example.line + example.parsed.line_offset) + source(example)
    exec(compile(code, example.path, "exec"), example.namespace)


def in_shell(example: Example) -> None:
    """Run a block in bash; the first command that fails fails the block."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", source(example)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"


def in_ledger(example: Example) -> None:
    """Run a query on the quickstart's ledger; one that finds nothing shows nothing, and fails."""
    assert sqlite3.connect("scan.db").execute(str(example.parsed)).fetchone() is not None, "the query finds no row"


PARSERS = (
    SkipParser(),
    CodeBlockParser(language="python", evaluator=in_python),
    CodeBlockParser(language="sh", evaluator=in_shell),
    CodeBlockParser(language="sql", evaluator=in_ledger),
)


def enter(namespace: dict[str, Any]) -> None:
    """A temporary folder for a page, with what the quickstart leaves in it."""
    folder = _folder()
    for name in KEPT:
        shutil.copy(after_quickstart() / name, folder)
    _change_to(folder, namespace)
    namespace["model"] = load_model("model.pt2", {}, trusted=True).module


def enter_readme(namespace: dict[str, Any]) -> None:
    """As `enter`, but the README makes its own ledger."""
    enter(namespace)
    (namespace["_folder"] / "scan.db").unlink()


def leave(namespace: dict[str, Any]) -> None:
    """Back to where the tests were started; the folder goes."""
    os.chdir(namespace["_home"])
    shutil.rmtree(namespace["_folder"])


def after_quickstart() -> Path:
    """A folder in which the quickstart was followed, word for word; once for all workers of one test run."""
    done = Path(os.environ[SHARED]) / "quickstart"
    with FileLock(f"{done}.lock"):
        if not done.exists():
            _follow(QUICKSTART).rename(done)
    return done


def _follow(path: Path) -> Path:
    page = Sybil(parsers=PARSERS, path=str(ROOT)).parse(path)
    folder = _folder()
    _change_to(folder, page.namespace)
    try:
        for example in page.examples():
            with contextlib.suppress(unittest.SkipTest):
                example.evaluate()
    finally:
        os.chdir(page.namespace["_home"])
    return folder


def _folder() -> Path:
    """A folder with the command in it as it is in this checkout."""
    folder = Path(tempfile.mkdtemp(dir=os.environ[SHARED]))
    command = folder / "bin" / "simkit"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m studies.cli.main "$@"\n')
    command.chmod(0o755)
    return folder


def _change_to(folder: Path, namespace: dict[str, Any]) -> None:
    namespace |= {"_home": os.getcwd(), "_folder": folder}
    os.chdir(folder)
    os.environ["PATH"] = f"{folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{EXAMPLES}", "SIMKIT_HOME": str(folder / "home")}


sys.path.append(str(EXAMPLES))
_README = Sybil(parsers=PARSERS, path=str(ROOT), pattern="README.md", setup=enter_readme, teardown=leave)
PAGES = Sybil(
    parsers=PARSERS,
    path=str(ROOT),
    patterns=["docs/*.md", "docs/howto/*.md", "docs/measured/*.md"],
    excludes=["docs/generated/*", "docs/quickstart.md"],
    setup=enter,
    teardown=leave,
)
pytest_collect_file = (_README + PAGES).pytest()
