from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from oracles.errors import ModelError
from oracles.model_files.archives import members_of
from tests.oracles.model_files.files import refusal, save_state_dict


def test_the_members_of_an_archive_and_of_none(tmp_path: Path) -> None:
    save_state_dict(tmp_path / "a.pt")
    assert "a/data.pkl" in members_of(tmp_path / "a.pt", (tmp_path / "a.pt").read_bytes())
    (tmp_path / "b.pt").write_bytes(b"hello")
    assert members_of(tmp_path / "b.pt", (tmp_path / "b.pt").read_bytes()) == []


@pytest.mark.parametrize("suffix", [".pt", ".pt2", ".pth"])
def test_a_zip_bomb_is_not_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"")
        archive.writestr("a/models/model.json", bytes(2**26))
    assert "would unpack from" in refusal(path)


def test_the_damaged_table_of_an_archive_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"a": torch.zeros(3)}, path)
    data = bytearray(path.read_bytes())
    data[data.rfind(b"PK\x01\x02") + 4 : data.rfind(b"PK\x01\x02") + 12] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(ModelError):
        members_of(path, path.read_bytes())


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_cut_archive_is_told_in_a_few_words(tmp_path: Path, share: float) -> None:
    save_state_dict(tmp_path / "a.pt")
    data = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: int(len(data) * share)])
    assert refusal(tmp_path / "cut.pt").endswith("cut.pt is a damaged or cut archive; copy or save it again")
