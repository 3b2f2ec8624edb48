"""Benchmarks as commands: the help is the docstring, and an error is one line with its code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def called(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *args], cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_says_what_it_is_for_and_what_cannot_be_read_is_one_line() -> None:
    told = called("benchmarks.training", "--help")
    assert (told.returncode, "What a minute of training buys" in told.stdout) == (0, True)
    refused = called("benchmarks.training", "--data", "no/such")
    assert (refused.returncode, refused.stderr.count("\n"), refused.stdout) == (4, 1, "")
    assert refused.stderr.startswith("error: no/such: no such data")
