"""A full disk three ways: nothing acknowledged is lost, the error is typed, and with room again the scan goes on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.faults import Fault, FileSize, MaxPages, Nothing
from tests.chaos.resume import STORAGE, Lab
from tests.chaos.test_system_calls import is_typed
from tests.chaos.victims import SHORT

PAGE = 4096


def _fills(pages: int, way: str) -> Fault:
    return MaxPages(pages) if way == "max_page_count" else FileSize(pages * PAGE)


@pytest.mark.parametrize("way", ["max_page_count", "RLIMIT_FSIZE"])
def test_a_limit_stops_the_scan_and_loses_nothing(way: str, lab: Lab) -> None:
    """A finished scan needs some 40 pages, and its log more."""
    stopped = 0
    for pages in range(1, 120, lab.sized(20, 2)):
        broken = lab.broken(SHORT, pages)
        ended = broken.go_on(_fills(pages, way))
        assert is_typed(broken)
        stopped += ended.code == STORAGE
        lab.finish(broken)
    assert stopped > 0
    lab.count("full disks", stopped)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB; skips where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_small_disk_stops_the_scan_until_there_is_room(lab: Lab, small_disk: Path) -> None:
    for kilobytes in range(1000, 2048, lab.sized(340, 40)):
        broken = lab.broken(SHORT, kilobytes, small_disk / "scan")
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(kilobytes * 1024))
        broken.go_on(Nothing(), ballast.unlink)
        assert is_typed(broken)
        lab.count("full disks", int(broken.breaks[-1].code == STORAGE))
        lab.finish(broken)
        shutil.rmtree(small_disk / "scan")
