"""Worker processes: what one victim's failure leaves of the others, and that no worker outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from simkit.errors import ConfigError, DataError
from simkit.zoo import processes
from simkit.zoo.manifest import Victim
from simkit.zoo.processes import made_by_processes
from simkit.zoo.spec import ZooSpec
from simkit.zoo.workshop import Workshop
from tests.fakes import planted_images
from tests.threads import one_torch_thread

pytestmark = pytest.mark.process

SPEC = ZooSpec(name="z", data="digits", split="tune", models=4)
PATIENCE = 90.0
"""Seconds that a process is given to start or to end."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


def finished(index: int) -> Victim:
    observed: dict[str, Any] = {"stratum": "clean", "truth": "clean", "architecture": "conv4", "clean_accuracy": 0.9}
    without: dict[str, Any] = dict.fromkeys(("attack", "success_rate", "file", "sha256"))
    return Victim(
        index=index, seed=index, target_classes=(), implanted=False, seconds=0.1, threads=1, **observed, **without
    )


def awaited(path: Path) -> None:
    """Returns when another process has written the file."""
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, f"{path} was never written"
        time.sleep(0.02)


def fails_at_0_while_1_is_at_work(spec: ZooSpec, out: Path, index: int) -> Victim:
    """In place of training, in a worker."""
    if index == 0:
        awaited(out / "begun")
        raise DataError("no such image")
    (out / "begun").write_text("1")
    awaited(out / "failure seen")
    return finished(index)


def dies(spec: ZooSpec, out: Path, index: int) -> Victim:
    """In place of training, in a worker."""
    os._exit(1)


def works_forever(spec: ZooSpec, out: Path, index: int) -> Victim:
    """In place of training, in a worker."""
    with FileLock(out / "alive"):
        (out / "begun").write_text("1")
        time.sleep(1000.0)
    raise AssertionError


def workshop(out: Path) -> Workshop:
    return Workshop(SPEC, planted_images(4), planted_images(4), out)


def test_a_failure_loses_no_victim_that_another_process_is_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_for_all(running: Any, **options: Any) -> Any:
        if not options:  # the wait for the others, after the failure
            (tmp_path / "failure seen").touch()
        return wait(running, **options)

    monkeypatch.setattr(processes, "wait", wait_for_all)
    monkeypatch.setattr(processes, "_make", fails_at_0_while_1_is_at_work)
    made: list[Victim] = []
    with pytest.raises(DataError, match="no such image"):
        made.extend(made_by_processes(workshop(tmp_path), lambda: (0, 1, 2, 3), 2))
    assert made == [finished(1)]  # and nothing new was begun


def test_a_process_that_dies_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_make", dies)
    with pytest.raises(ConfigError, match="a process that made victims died"):
        list(made_by_processes(workshop(tmp_path), lambda: (0,), 1))


def test_a_worker_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
            from pathlib import Path
            from simkit.zoo import processes
            from tests.simkit.zoo.test_processes import works_forever, workshop

            if __name__ == "__main__":
                processes._make = works_forever
                list(processes.made_by_processes(workshop(Path({str(tmp_path)!r})), lambda: (0,), 1))
            """)
    )
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, str(script)], cwd=root, env=environment) as parent:
        awaited(tmp_path / "begun")
        parent.send_signal(signal.SIGKILL)
    with FileLock(tmp_path / "alive").acquire(timeout=PATIENCE) as alive:  # the system frees it when the worker ends
        assert alive.is_locked
