"""Small files that promise or unpack to gigabytes: refused in one line by a process that may take 1 GiB more."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.oracles.model_files.pickle_bombs import BOMBS as PICKLES
from tests.oracles.model_files.pickle_bombs import in_archive, in_old_file

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

READ = """
import resource, sys
import pyarrow.parquet, PIL.Image, torch, numpy  # what is imported is not what a file takes
from pathlib import Path
from oracles.model_files import load_model
from oracles.model_files.description import Description
from simkit.data import load
from simkit.env.recording import Recording
from simkit.zoo.networks import NETWORKS
from studies.importers.trojanzoo import read_trojanzoo
readers = {
    "data": lambda path: load(path, "test", 2),
    "recording": lambda path: Recording.load(Path(path)),
    "model": lambda path: load_model(path, NETWORKS, Description("conv4", (3, 8, 8), 4)),
    "import": lambda path: read_trojanzoo(Path(path)),
}
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**30, taken + 2**30))
for line in sys.stdin.read().splitlines():
    reader, _, path = line.partition(" ")
    try:
        readers[reader](path)
    except Exception as error:
        print(f"{type(error).__name__} {error}".encode("unicode_escape").decode(), flush=True)
    else:
        print("read", flush=True)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one process with little memory says of every bomb, in one line each."""
    folder = tmp_path_factory.mktemp("bombs")
    wanted = []
    for name, (reader, make) in BOMBS.items():
        place = folder / name.replace(" ", "_")
        place.mkdir()
        wanted.append(f"{reader} {make(place)}\n")
    environment = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"}  # the others reserve addresses by the gigabyte
    command = [sys.executable, "-c", READ]
    done = subprocess.run(
        command, input="".join(wanted), capture_output=True, text=True, timeout=280, check=False, env=environment
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{list(BOMBS)[len(lines) - 1]}: {done.stderr[-2000:]}"
    return dict(zip(BOMBS, lines, strict=True))


def npy(header: str, data: bytes = b"") -> bytes:
    """An array in NumPy's format whose header says anything."""
    text = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return path


_HEADER = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}"


def zeros(folder: Path) -> Path:
    path = folder / "a.npz"
    np.savez_compressed(path, images=np.zeros((700, 3, 512, 1024), np.uint8), labels=np.arange(700) % 4)
    return path


def promising(folder: Path) -> Path:
    return archive(
        folder / "a.npz",
        images=npy(_HEADER.format("|u1", (10**6, 3, 32, 32)), bytes(99)),
        labels=npy(_HEADER.format("<i8", (1,)), bytes(8)),
    )


def without_bytes(folder: Path) -> Path:
    return archive(
        folder / "a.npz", images=npy(_HEADER.format("|V0", (10**12,))), labels=npy(_HEADER.format("<U0", (10**12,)))
    )


def of_long_text(folder: Path) -> Path:
    return archive(folder / "a.npz", classes=npy(_HEADER.format("<U500000000", (4,))))


def negative(folder: Path) -> Path:
    return archive(folder / "a.npz", images=npy(_HEADER.format("|u1", (-1, -(10**12)))))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: int = 0) -> bytes:
    """A black PNG of any size of which only so many rows are there."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(rows * (3 * width + 1)), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


IMAGES = {
    "gigapixels.png": png(100_000, 100_000, 1),
    "black.png": png(9_000, 9_000, 9_000),
    "endless.png": png(2**31 - 1, 2**31 - 1),
    "raw.ppm": b"P6 60000 60000 255\n" + bytes(99),
}


def in_folder(folder: Path, name: str) -> Path:
    for label in "ab":
        (folder / label).mkdir()
        for number in range(4):
            (folder / label / f"{number}{name}").write_bytes(IMAGES[name])
    return folder


def parquet(folder: Path, images: list[bytes], **options: object) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    cells = [{"bytes": image, "path": None} for image in images]
    table = pa.table({"image": cells, "label": [number % 4 for number in range(len(images))]})
    pq.write_table(table, folder / "test.parquet", **options)
    return folder


def zeros_in_parquet(folder: Path) -> Path:
    return parquet(folder, [bytes(2**22)] * 256, compression="zstd", use_dictionary=False)


def one_value(folder: Path) -> Path:
    """A dictionary page with one image of 3 MB that all 600 rows of the group refer to."""
    held = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)).save(held, "png")
    parquet(folder, [held.getvalue()] * 600, dictionary_pagesize_limit=2**24)
    assert (folder / "test.parquet").stat().st_size < 2**23
    return folder


def many_rows(folder: Path) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    many = 4_000_000
    same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(many, np.int32)), pa.array([b"x"]))
    image = pa.StructArray.from_arrays([same.cast(pa.binary())], ["bytes"])
    pq.write_table(pa.table({"image": image, "label": pa.array(np.zeros(many, np.int64))}), folder / "test.parquet")
    return folder


def pickled(folder: Path, data: bytes) -> Path:
    path = folder / "a.pt"
    path.write_bytes(data)
    return path


def many_tensors(folder: Path) -> Path:
    """A small archive whose one storage of 2 MB stands behind 1,000 tensors."""
    one = torch.zeros(500_000)
    torch.save({f"features.{number}": one.view(500, 1000) for number in range(1000)}, folder / "a.pth")
    return folder / "a.pth"


_NPZ = (zeros, promising, without_bytes, of_long_text, negative)
_MEMO = b"\x80\x02Nr\xff\xff\xff\x0f."
"""LONG_BINPUT: the unpickler that is written in C makes a table as long as the number says."""

BOMBS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    **{f"{make.__name__} as {reader}": (reader, make) for make in _NPZ for reader in ("data", "recording")},
    **{f"{name} in a folder": ("data", partial(in_folder, name=name)) for name in IMAGES},
    **{f"{name} in parquet": ("data", partial(parquet, images=[data] * 8)) for name, data in IMAGES.items()},
    "zeros in parquet": ("data", zeros_in_parquet),
    **{f"{name} in an archive": ("model", partial(pickled, data=in_archive(data))) for name, data in PICKLES.items()},
    **{f"{name} in an old file": ("model", partial(pickled, data=in_old_file(data))) for name, data in PICKLES.items()},
    **{f"{name} as import": ("import", partial(pickled, data=in_archive(data))) for name, data in PICKLES.items()},
    "a place in the memo": ("import", partial(pickled, data=in_archive(_MEMO))),
    "many tensors": ("import", many_tensors),
    "one value": ("data", one_value),
    "many rows": ("data", many_rows),
}

_SAID = {
    **{name: "would unpack from" if reader in ("data", "recording") else "" for name, (reader, _) in BOMBS.items()},
    **{name: "promises more than 67,108,864 pixels" for name in BOMBS if name.startswith(tuple(IMAGES))},
    **{f"negative as {reader}": "negative size" for reader in ("data", "recording")},
    "many rows": "promises 4,000,000 rows in",
    "one value": "read",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_counted_before_it_is_unpacked(name: str, answers: dict[str, str]) -> None:
    said = answers[name]
    for lack in ("MemoryError", "alloc", "\\n"):
        assert lack not in said
    assert _SAID[name] in said
    assert said == "read" or said.startswith(("DataError", "ModelError"))
    assert (said == "read") == (name == "one value")
