"""How much is tried, and what came of it: sizes by flag, counts from every test, printed once and kept as a line."""

from __future__ import annotations

import json
import platform
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.child import build_shim, start
from tests.chaos.resume import Lab
from tests.chaos.victims import Scenario, Victim, unbroken
from tests.threads import one_torch_thread

HERE = Path(__file__).parent
SMALL, FULL = "small", "full"
_STARTED = time.time()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos")
    group.addoption("--chaos", choices=[SMALL, FULL], default=SMALL, help="how much is tried: small for CI, or full")
    group.addoption("--chaos-out", metavar="FILE", default=None, help="append the counts to FILE as a line of JSON")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them start processes."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("process")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The number of threads belongs to a run's identity."""
    with one_torch_thread():
        yield


@pytest.fixture(scope="session")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    """A backdoored model and its images, as files."""
    return Victim.made(tmp_path_factory.mktemp("victim"))


@pytest.fixture(scope="session")
def whole(victim: Victim, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Scenario], str]:
    """What an unbroken scan of a scenario leaves, as a SHA-256; each scenario is scanned once."""
    reference: dict[str, str] = {}

    def of(scenario: Scenario) -> str:
        if scenario.name not in reference:
            reference[scenario.name] = unbroken(victim, scenario, tmp_path_factory.mktemp("unbroken"))
        return reference[scenario.name]

    return of


@pytest.fixture
def lab(request: pytest.FixtureRequest, victim: Victim, whole: Callable[[Scenario], str], tmp_path: Path) -> Lab:
    """What every test here needs."""
    return Lab(victim, whole, tmp_path, request.config.getoption("--chaos") == FULL, request.node.user_properties)


@pytest.fixture(scope="session", autouse=True)
def built_shim(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The compiled shim, preloaded into all children of this process; None where there is no C compiler."""
    built = build_shim(tmp_path_factory.mktemp("shim"))
    start(built)
    return built


@pytest.fixture
def shim(built_shim: Path | None) -> None:
    """Skips where system calls cannot be made to fail."""
    if built_shim is None:
        pytest.skip("no C compiler (cc) to build the shim with")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The counts of all tests, in one line to quote; by the process that hears of all of them."""
    if hasattr(config, "workerinput"):
        return
    counts: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for outcome in ("passed", "failed", "skipped", "error"):
        for report in terminalreporter.getreports(outcome):
            ended[outcome] += 1
            for name, number in getattr(report, "user_properties", []):
                counts[name] += number
    line = {
        "chaos": config.getoption("--chaos"),
        **{outcome: ended[outcome] for outcome in ("passed", "failed", "skipped", "error")},
        **dict(sorted(counts.items())),
        "seconds": round(time.time() - _STARTED),
        "sqlite": sqlite3.sqlite_version,
        "python": platform.python_version(),
    }
    terminalreporter.section("chaos")
    terminalreporter.write_line(json.dumps(line))
    if out := config.getoption("--chaos-out"):
        with Path(out).open("a") as file:
            file.write(json.dumps(line) + "\n")
