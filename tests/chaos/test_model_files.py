"""Model files flipped, cut, or with a pickle planted in them: refused in one line or a model, and no code is run."""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from oracles.errors import ModelError
from oracles.model_files import load_model
from simkit.seeding import stream
from tests.chaos.child import CONTEXT
from tests.chaos.resume import Lab
from tests.oracles.model_files.files import ARCHITECTURES, KINDS, TOLD, Canary


def _damaged(data: bytes, draw: np.random.Generator) -> bytes:
    """One to three bytes changed, or the end cut off."""
    if draw.random() < 0.3:
        return data[: int(draw.integers(len(data)))]
    changed = bytearray(data)
    for _ in range(int(draw.integers(1, 4))):
        changed[int(draw.integers(len(data)))] = int(draw.integers(256))
    return bytes(changed)


def _planted(data: bytes, canary: Path) -> list[bytes]:
    """The file with a pickle that makes `canary` in place of each of its parts, and that pickle alone."""
    bait = pickle.dumps(Canary(canary), protocol=2)
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return [bait, bait + data, data + bait]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    return [bait, *(_zipped(parts | {name: bait}) for name in parts)]


def _zipped(parts: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return held.getvalue()


def read_all(folder: Path, kind: str, times: int) -> None:
    """Read damaged and planted files of a kind, in a process of its own: a reader may crash. Leaves `counts.json`."""
    warnings.simplefilter("ignore")
    suffix, save = KINDS[kind]
    whole, canary = folder / f"whole{suffix}", folder / "canary"
    save(whole)
    draw, planted = stream(0, f"fuzz {kind}"), _planted(whole.read_bytes(), canary)
    files = [*planted, *(_damaged(whole.read_bytes(), draw) for _ in range(times))]
    files += [_damaged(planted[int(draw.integers(len(planted)))], draw) for _ in range(times)]
    refused = 0
    for number, data in enumerate(files):
        path = folder / f"{number}{suffix}"
        path.write_bytes(data)
        message = _refusal(path)
        assert "\n" not in message
        refused += message != ""
        assert not canary.exists(), f"{path}: code was run"
        path.unlink()
    (folder / "counts.json").write_text(json.dumps([len(files), refused]))


def _refusal(path: Path) -> str:
    """What is said against a file; nothing where it is a model."""
    try:
        load_model(path, ARCHITECTURES, TOLD, trusted=True)  # the reader itself is tried
    except ModelError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", KINDS)
def test_no_reader_runs_code_or_breaks(kind: str, lab: Lab) -> None:
    process = CONTEXT.Process(target=read_all, args=(lab.folder, kind, lab.sized(20, 300)))
    process.start()
    process.join()
    assert process.exitcode == 0
    files, refused = json.loads((lab.folder / "counts.json").read_text())
    assert refused > 0
    lab.count("model files", files)
    lab.count("model files refused", refused)
    lab.count("codes run", int((lab.folder / "canary").exists()))
