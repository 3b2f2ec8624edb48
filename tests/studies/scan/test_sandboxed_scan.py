"""Scans of files that are programs: in a process of their own, whatever the file does, and said where they are not."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import db
from db.ledger import Ledger
from oracles.errors import ModelError
from oracles.sandbox import process
from simkit.detectors.whitebox.neural_cleanse import NeuralCleanse
from studies.scan import ScanResult, scan
from studies.scan.config import ScanConfig
from studies.scan.images import choose_images
from studies.scan.white_box import inspect_model
from tests.oracles.sandbox.conftest import before_all, unchecked
from tests.studies.scans import IMAGES, SETTINGS, TemplateNet, told

__all__ = ["unchecked"]

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SHAPE = (1, 12, 12)
AS_IT_WAS = b"................"


class Net(nn.Module):
    """Four classes of templates, without a backdoor."""

    def __init__(self) -> None:
        super().__init__()
        self.templates = nn.Parameter(TemplateNet().templates.detach().clone())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        looks = torch.clip(10.0 * (images - 0.5), -1.0, 1.0)
        return 20.0 * looks.flatten(1) @ self.templates.flatten(1).T / self.templates[0].numel()


class Dies(nn.Module):
    """By SIGSEGV, from the images of a certain call on: an operator that reads beyond its tensor."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.net = Net()
        self.left = after

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.left -= images.size(0)
        if self.left < 0:
            images = images + torch.ops.aten._reshape_alias(images, [1 << 20], [1 << 20]).sum()
        rows: torch.Tensor = self.net(images)
        return rows


def write(state: torch.Tensor, path: str) -> torch.Tensor:
    into = torch.from_file(path, shared=True, size=len(state), dtype=torch.uint8)
    into.copy_(state)
    return into


class Forks(nn.Module):
    """Writes its buffer into a file at each call, where no list of one graph's operators shows it."""

    def __init__(self, canary: Path) -> None:
        super().__init__()
        self.net = Net()
        self.path: str = str(canary)
        self.register_buffer("state", torch.tensor(list(b"written by a file"[:16]), dtype=torch.uint8))
        self.state: torch.Tensor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        torch.jit.wait(torch.jit.fork(write, self.state, self.path))  # type: ignore[no-untyped-call]
        rows: torch.Tensor = self.net(images)
        return rows


class Restores(nn.Module):
    """Writes its buffer into a file while it is loaded."""

    def __init__(self, canary: Path) -> None:
        super().__init__()
        self.k = 1
        self.path: str = str(canary)
        self.register_buffer("state", torch.tensor(list(b"written by a file"[:16]), dtype=torch.uint8))
        self.state: torch.Tensor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean() * self.k

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, str]:
        return self.state, self.path

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str]) -> None:
        self.state = write(state[0], state[1])
        self.k = 0
        self.path = state[1]
        self.training = False


class Top(nn.Module):
    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.net = Net()
        self.part = part

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.net(images) + 0 * self.part(images)
        return rows


class Endless(nn.Module):
    """Of any image; an empty batch is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        count = images.size(0)
        while count > 0:
            count += 1
        rows: torch.Tensor = self.net(images)
        return rows


def saved(path: Path, model: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(model.eval()), path)
    return path


def scanned(path: Path, **settings: Any) -> ScanResult:
    return scan(path, images=IMAGES, **(SETTINGS | settings))


def test_a_file_in_a_child_gives_the_same_result_under_the_same_key(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pt", Net())
    there = scanned(path, db=tmp_path / "there.db")
    here = scanned(path, db=tmp_path / "here.db", trust_model=True)
    assert told(there) | {"notes": ""} == told(here) | {"notes": ""}
    assert "trusted" not in there.notes
    assert here.notes.endswith("the model file was trusted, and its program ran in simkit's own process")
    assert here.to_json()["notes"] == here.notes
    spent = there.spent
    again = scanned(path, db=tmp_path / "there.db", trust_model=True)
    assert (again.run, again.spent, again.notes) == (there.run, spent, there.notes)


@pytest.mark.parametrize("libraries", [("seccompy",), ("landlockpy", "seccompy")])
def test_a_result_names_the_restrictions_that_are_not_to_be_had(
    libraries: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "; ".join(f"sys.modules[{library!r}] = None" for library in libraries)
    monkeypatch.setattr(process, "CODE", before_all(line))
    result = scanned(saved(tmp_path / "net.pt", Net()), db=tmp_path / "scan.db")
    missing = " and ".join({"seccompy": "seccomp", "landlockpy": "Landlock"}[library] for library in libraries)
    said = f"the model file ran in a process of its own, without {missing}: not available here"
    assert result.notes.endswith(said)
    (environment,) = db.open(tmp_path / "scan.db").sql("SELECT environment FROM runs").environment
    assert json.loads(environment)["model_file"] == said


@pytest.mark.usefixtures("unchecked")
def test_what_a_file_calls_in_another_function_writes_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = saved(tmp_path / "model.pt", Forks(canary))
    canary.write_bytes(AS_IT_WAS)
    with pytest.raises(ModelError, match="the model failed on images"):
        scanned(path)
    assert canary.read_bytes() == AS_IT_WAS


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("spelling", ["/code/", "/CODE/"])
def test_what_a_file_does_while_it_is_loaded_writes_nothing(spelling: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_bytes(AS_IT_WAS)
    plain = saved(tmp_path / "plain.pt", Top(Restores(canary)))
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(tmp_path / "model.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name.replace("/code/", spelling), old.read(name))
    with pytest.raises(ModelError):
        scanned(tmp_path / "model.pt")
    assert canary.read_bytes() == AS_IT_WAS


@pytest.mark.usefixtures("unchecked")
def test_a_model_that_dies_is_charged_nothing_for_it_and_the_scan_goes_on_later(tmp_path: Path) -> None:
    whole = scanned(saved(tmp_path / "net.pt", Net()), trust_model=True)
    path = saved(tmp_path / "model.pt", Dies(300))
    with pytest.raises(ModelError, match=r"ended its process \(SIG") as caught:
        scanned(path, db=tmp_path / "scan.db")
    assert "\n" not in str(caught.value)
    before = _spent(tmp_path / "scan.db")
    assert 0 < before <= 300
    with pytest.raises(ModelError, match=r"ended its process \(SIG"):
        scanned(path, db=tmp_path / "scan.db")
    assert before < _spent(tmp_path / "scan.db") <= whole.spent


def _spent(ledger: Path) -> int:
    (spent,) = db.open(ledger).sql("SELECT count(*) AS n FROM queries WHERE charged").n
    return int(spent)


def test_a_daemon_process_may_scan(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pt", Net())
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    worker = context.Process(target=_verdict, args=(path, results), daemon=True)
    worker.start()
    assert results.get() == scanned(path, trust_model=True).verdict
    worker.join()


def _verdict(path: Path, results: Any) -> None:
    torch.set_num_threads(1)
    results.put(scanned(path).verdict)


def test_a_white_box_detector_says_that_it_needs_the_weights_here(tmp_path: Path) -> None:
    config = ScanConfig.of({"search_images": 64, "verify_images": 48})
    path, images = saved(tmp_path / "net.pt", Net()), choose_images(config, IMAGES)
    with (
        Ledger.open(tmp_path / "scan.db") as ledger,
        pytest.raises(ModelError, match=r"needs the weights in simkit's own process.*trust_model"),
    ):
        inspect_model(NeuralCleanse(), path, config, ledger, images)


@pytest.mark.parametrize(("threads", "end"), [(1, signal.SIGINT), (2, signal.SIGINT), (1, signal.SIGKILL)])
def test_a_model_that_never_returns_ends_with_its_scan(threads: int, end: signal.Signals, tmp_path: Path) -> None:
    path = saved(tmp_path / "model.pt", Endless())
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import sys, torch\n"
    code += f"torch.set_num_threads({threads})\n"
    code += "from tests.studies.scan.test_sandboxed_scan import scanned; from pathlib import Path\n"
    code += "try:\n    scanned(Path(sys.argv[1]))\nexcept KeyboardInterrupt:\n    sys.exit(130)"
    scanning = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code, str(path)])
    child = _busy_child(scanning.pid)
    scanning.send_signal(end)
    assert scanning.wait(20) == (130 if end == signal.SIGINT else -end)
    assert _ends(child)


def _busy_child(parent: int) -> int:
    """The child of this process once it computes: it took a second of the processor beyond the start."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if "oracles.sandbox.child" in Path(f"/proc/{child}/cmdline").read_text() and _running(int(child)):
                return int(child)
        time.sleep(0.1)
    raise AssertionError("the model was never asked")


def _running(pid: int) -> bool:
    """Whether one of its threads was at work for a whole second."""
    seen = [_ticks(pid)]
    for _ in range(10):
        time.sleep(0.1)
        seen.append(_ticks(pid))
    threads = len(os.listdir(f"/proc/{pid}/task"))
    return threads >= 1 and seen[-1] - seen[0] > 20 and all(a < b for a, b in zip(seen, seen[2:], strict=False))


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11])


def _ends(pid: int) -> bool:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False
