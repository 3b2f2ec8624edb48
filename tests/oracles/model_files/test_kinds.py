"""What holds for a model file of any kind: the same answers, and damage in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from oracles.answers import Scores
from oracles.errors import ModelError
from oracles.model_files import load_model
from oracles.torch_model import TorchOracle
from oracles.torch_options import TorchOptions
from tests.oracles.fakes import random_images
from tests.oracles.model_files.files import ARCHITECTURES, KINDS, SHAPE, TOLD, victim
from tests.oracles.nets import reference

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PLACES = 24
"""Where each file is cut, and where a byte is changed."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file of each kind, saved once."""
    folder = tmp_path_factory.mktemp("whole")
    for kind, (suffix, save) in KINDS.items():
        save(folder / f"{kind}{suffix}")
    return {kind: folder / f"{kind}{suffix}" for kind, (suffix, _) in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 53])
def test_every_kind_answers_as_the_module_does(whole: dict[str, Path], kind: str, count: int) -> None:
    loaded = load_model(whole[kind], ARCHITECTURES, TOLD)
    images = random_images(count, SHAPE)
    oracle = TorchOracle(loaded.module, SHAPE, TorchOptions(chunk=10), loaded.n_classes)
    answer = oracle.query(images)
    assert isinstance(answer, Scores)
    np.testing.assert_allclose(answer.values, reference(victim(), images), atol=1e-6)
    assert not loaded.module.training


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_refused_in_one_line(whole: dict[str, Path], kind: str, tmp_path: Path) -> None:
    data, path = whole[kind].read_bytes(), tmp_path / whole[kind].name
    for place in range(PLACES):
        path.write_bytes(data[: len(data) * place // PLACES])
        with pytest.raises(ModelError) as caught:
            load_model(path, ARCHITECTURES, TOLD)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_byte_is_refused_in_one_line_or_changes_values_alone(
    whole: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    data, path, refused = whole[kind].read_bytes(), tmp_path / whole[kind].name, 0
    for place in range(PLACES):
        at = (len(data) - 1) * place // (PLACES - 1)
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        message = told(path)
        refused += message is not None
        assert "\n" not in (message or "")
    assert refused, "the first byte at least says what the file is"


def told(path: Path) -> str | None:
    """What is said against a file, when it is loaded or asked."""
    try:
        loaded = load_model(path, ARCHITECTURES, TOLD)
        TorchOracle(loaded.module, SHAPE, n_classes=4).query(torch.rand(2, *SHAPE))
    except ModelError as error:
        return str(error)
    return None
