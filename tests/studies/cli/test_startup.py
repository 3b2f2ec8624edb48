"""Which libraries each command imports: the slow ones only where something is computed with them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from db import reads
from studies.scan.run import scan

pytestmark = pytest.mark.process

SLOW = ("torch", "torch._dynamo", "scipy", "scipy.stats", "optuna", "pandas", "sklearn", "matplotlib", "pyarrow")
"""Libraries that take longer to import than all else that `simkit db runs` needs."""

PRESETS = {"race": 600, "auto": 600, "b3d": 600, "b3d-ss": 7_000}
"""With a budget that lets B3D take its first step, where the preset begins with it."""

_RUN = """
import json, sys
from studies.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
print(json.dumps([code, sorted(sys.modules)]))
"""


def imported(*command: str, code: int | None = None) -> set[str]:
    """The modules that a process has imported by the end of `simkit COMMAND`; code: how it must end, None for any."""
    done = subprocess.run([sys.executable, "-c", _RUN, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ended, modules = json.loads(done.stdout.splitlines()[-1])
    assert code is None or ended == code, done.stderr
    return set(modules)


@pytest.fixture(scope="module")
def ledger(demo_victims: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("startup") / "scan.db"
    scan(f"{demo_victims / 'zoo'}:0", data="digits", budget=1_500, preset="race", db=path)
    return path


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        (["--help"], set()),
        (["scan", "--help"], set()),
        (["db", "runs", "LEDGER"], set()),
        (["db", "check", "LEDGER"], set()),
        (["report", "LEDGER", "--out", "PAGE"], {"matplotlib"}),  # its ticks
        (["replay", "LEDGER", "--at", "500,1000"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_that_asks_no_model_imports_nothing_slow(
    command: list[str], allowed: set[str], ledger: Path, tmp_path: Path
) -> None:
    places = {"LEDGER": str(ledger), "PAGE": str(tmp_path / "page.html")}
    modules = imported(*(places.get(word, word) for word in command), code=0)
    assert modules & set(SLOW) <= allowed


@pytest.mark.parametrize("preset", PRESETS)
def test_no_scan_imports_what_it_does_not_compute_with(preset: str, demo_victims: Path, tmp_path: Path) -> None:
    data = [] if preset == "b3d-ss" else ["--data", "digits"]
    db, budget = str(tmp_path / "scan.db"), str(PRESETS[preset])
    command = ["scan", f"{demo_victims / 'zoo'}:0", *data, "--budget", budget, "--preset", preset, "--db", db]
    modules = imported(*command)
    assert (reads.steps(Path(db), 1)["purpose"] == "search").sum() > 1  # the first was told, and the search moved by it
    assert modules & {"torch._dynamo", "scipy.stats", "optuna", "pandas", "sklearn", "matplotlib", "pyarrow"} == set()
