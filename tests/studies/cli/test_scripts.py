"""Benchmarks as commands: the help is the docstring, and an error is one line with its code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def called(*args: str) -> subprocess.CompletedProcess[str]:
    """As the documentation says it, with nothing of the checkout on Python's path but the script's own folder."""
    script = str(BENCHMARKS / "training.py")
    return subprocess.run([sys.executable, script, *args], capture_output=True, text=True, check=False)


@pytest.mark.process
def test_help_says_what_it_is_for_and_what_cannot_be_read_is_one_line() -> None:
    told = called("--help")
    assert (told.returncode, "Training time against accuracy" in told.stdout) == (0, True)
    refused = called("--data", "no/such")
    assert (refused.returncode, refused.stderr.count("\n"), refused.stdout) == (4, 1, "")
    assert refused.stderr.startswith("error: no/such: no such data")


def test_a_benchmark_that_needs_the_checkout_on_the_path_is_run_as_a_module_everywhere() -> None:
    importing = re.compile(r"^\s*(from|import) benchmarks\b", re.MULTILINE)
    pages = [*BENCHMARKS.parent.glob("docs/**/*.md"), *BENCHMARKS.parent.glob("*.md"), *BENCHMARKS.glob("*.py")]
    text = "\n".join(path.read_text() for path in pages)
    for path in BENCHMARKS.glob("*.py"):
        if importing.search(path.read_text()):
            assert f"python -m benchmarks.{path.stem}" in text
            assert f"python benchmarks/{path.name}" not in text
    assert (BENCHMARKS / "training.py").is_file()
