"""Making zoos: quotas, replacements, resuming, and what must not be mixed up."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from simkit.data import load
from simkit.errors import ConfigError, DataError
from simkit.zoo import workshop
from simkit.zoo.manifest import MANIFEST, Manifest, Victim
from simkit.zoo.networks import NETWORKS
from simkit.zoo.spec import ZooSpec
from simkit.zoo.train import Evaluation, evaluate
from simkit.zoo.zoo import make, missing
from tests.threads import one_torch_thread


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Weights depend on the number of threads; small networks are fastest with one."""
    with one_torch_thread():
        yield


def spec(**fields: Any) -> ZooSpec:
    """Six digit models of an epoch each, four of them backdoored."""
    quick = {"epochs": 2, "batch": 64, "precision": "float32", "train_images": 500}
    base = {"name": "z", "data": "digits", "split": "tune", "models": 6, "sizes": [2, 4], "architectures": ["flat"]}
    return ZooSpec.of(base | {"train": quick, "rate": 0.3, "required_success": 0.6} | fields)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unbroken run of `spec()`."""
    folder = tmp_path_factory.mktemp("zoo") / "new" / "folder"
    make(spec(), folder)
    return folder


def _files(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.safetensors")}


def _told(folder: Path) -> Manifest:
    """The manifest without the seconds."""
    manifest = Manifest.load(folder)
    timeless = {
        part: tuple(v.model_copy(update={"seconds": 0.0}) for v in getattr(manifest, part))
        for part in ("victims", "failed")
    }
    return manifest.model_copy(update=timeless)


def test_every_stratum_gets_its_quota_and_every_victim_its_file(made: Path) -> None:
    manifest = Manifest.load(made)
    assert manifest.complete
    assert Counter(v.stratum for v in manifest.victims) == spec().quotas()
    assert {v.file: v.sha256 for v in manifest.victims} == _files(made)
    assert [v.index for v in manifest.victims] == sorted(v.index for v in manifest.victims)


def test_failed_implants_are_listed_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two fall short of 0.6, and every other just reaches it."""
    rates = itertools.chain([0.59, 0.0], itertools.repeat(0.6))
    monkeypatch.setattr(workshop, "train", lambda network, images, config, seed: network.eval())
    monkeypatch.setattr(
        workshop, "evaluate", lambda _model, _images, attack, _: Evaluation(0.8, attack and next(rates))
    )
    manifest = make(spec(), tmp_path)
    assert [v.success_rate for v in manifest.failed] == [0.59, 0.0]
    assert Counter(v.stratum for v in manifest.victims) == spec().quotas()
    assert {v.success_rate for v in manifest.victims} == {0.6, None}
    assert set(_files(tmp_path)) == {v.file for v in manifest.victims}
    for failed in manifest.failed:
        assert (failed.file, failed.sha256, failed.implanted) == (None, None, False)
        assert any(v.stratum == failed.stratum and v.index > failed.index for v in manifest.victims)


def test_the_figures_are_those_of_the_weights_on_disk(made: Path) -> None:
    manifest = Manifest.load(made)
    held_out = load("digits", "test", spec().held_out, spec().first_seed)
    for victim in manifest.victims:
        model = NETWORKS[victim.architecture](manifest.image_shape, len(manifest.classes)).eval()
        model.load_state_dict(load_file(made / str(victim.file)))
        assert evaluate(model, held_out, victim.attacked()) == Evaluation(victim.clean_accuracy, victim.success_rate)


def test_the_weights_know_nothing_of_the_truth(made: Path) -> None:
    files = list(made.glob("*.safetensors"))
    assert len({len(p.read_bytes()) for p in files}) == 1
    headers = {p.read_bytes()[: 8 + int.from_bytes(p.read_bytes()[:8], "little")] for p in files}
    assert len(headers) == 1


def test_a_finished_zoo_is_left_as_it_is(made: Path) -> None:
    before, manifest = _files(made), (made / MANIFEST).read_bytes()
    seen: list[Victim] = []
    assert make(spec(), made, seen.append).complete
    assert (seen, _files(made), (made / MANIFEST).read_bytes()) == ([], before, manifest)


class _Killed(BaseException):
    """Stands for a kill: no handler may catch it."""


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("where", ["progress", "manifest"])
def test_a_killed_run_goes_on_to_the_same_zoo(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch, after: int, where: str
) -> None:
    seen: list[int] = []

    def killed(victim: Victim) -> None:
        seen.append(victim.index)
        if len(seen) == after and where == "progress":
            raise _Killed

    save = Manifest.save

    def killed_before_saving(manifest: Manifest, folder: Path) -> None:
        if len(seen) == after and where == "manifest":
            raise _Killed
        save(manifest, folder)

    with monkeypatch.context() as patched:
        patched.setattr(Manifest, "save", killed_before_saving)
        with pytest.raises(_Killed):
            make(spec(), tmp_path, killed)
    made_before = list(seen)
    make(spec(), tmp_path, lambda victim: seen.append(victim.index))
    assert len(seen) == len(set(seen))  # what was finished is not trained again
    assert seen[: len(made_before)] == made_before
    assert _files(tmp_path) == _files(made)
    assert _told(tmp_path) == _told(made)


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_lost_file_is_made_again(tmp_path: Path, made: Path, damage: str) -> None:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    victim = Manifest.load(tmp_path).victims[2]
    lost = tmp_path / str(victim.file)
    if damage == "missing":
        lost.unlink()
    else:
        lost.write_bytes(lost.read_bytes()[:-1])
    seen: list[int] = []
    make(spec(), tmp_path, lambda again: seen.append(again.index))
    assert seen == [victim.index]
    assert _files(tmp_path) == _files(made)
    assert _told(tmp_path) == _told(made)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [({"models": 7}, "of another models"), ({"rate": 0.2, "seed": 1}, "of another seed, rate")],
)
def test_another_zoo_in_the_same_folder_is_refused(made: Path, fields: dict[str, Any], complaint: str) -> None:
    before = _files(made), (made / MANIFEST).read_bytes()
    with pytest.raises(ConfigError, match=complaint):
        make(spec(**fields), made)
    assert (_files(made), (made / MANIFEST).read_bytes()) == before


def _npz(path: Path, shift: int) -> None:
    digits = load("digits", "train", limit=60)
    pixels = np.roll((digits.pixels.numpy() * 255).astype(np.uint8), shift, axis=3)
    np.savez(path, x_train=pixels, y_train=digits.labels, x_test=pixels, y_test=digits.labels)


def test_other_data_under_the_same_name_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "set.npz"
    _npz(data, 0)
    small = spec(data=str(data), models=1, clean_share=1, sizes=[])
    make(small, tmp_path / "zoo")
    _npz(data, 1)
    with pytest.raises(ConfigError, match="other training images"):
        make(small, tmp_path / "zoo")


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0000.safetensors").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="holds weights but no manifest"):
        make(spec(), tmp_path)
    assert (tmp_path / "0000.safetensors").read_bytes() == b"precious"
    with pytest.raises(ConfigError, match="is a file"):
        make(spec(), tmp_path / "0000.safetensors")


def test_two_processes_do_not_make_one_zoo(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(ConfigError, match="another process"):
        make(spec(), tmp_path)


@pytest.mark.parametrize(("fields", "error"), [({"data": "no/such"}, DataError), ({"sizes": [9]}, ConfigError)])
def test_nothing_is_begun_for_a_zoo_that_cannot_be(tmp_path: Path, fields: dict[str, Any], error: type) -> None:
    with pytest.raises(error):
        make(spec(**fields), tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_it_gives_up_on_a_stratum_that_always_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop, "train", lambda network, images, config, seed: network.eval())
    hopeless = spec(models=1, clean_share=0, sizes=[1], required_success=1.0)
    with pytest.raises(
        ConfigError, match=r"backdoor training of 1x1 failed 10 times, 0 of 1 succeeded; lower required_success"
    ):
        make(hopeless, tmp_path)
    manifest = Manifest.load(tmp_path)
    assert (len(manifest.failed), manifest.victims, _files(tmp_path)) == (10, (), {})
    with pytest.raises(ConfigError, match="backdoor training of 1x1 failed 10 times"):
        make(hopeless, tmp_path)


@pytest.mark.process
def test_two_processes_make_the_zoo_that_one_makes(tmp_path: Path, made: Path) -> None:
    seen: list[int] = []
    make(spec(), tmp_path, lambda victim: seen.append(victim.index), workers=2)
    assert _files(tmp_path) == _files(made)
    assert _told(tmp_path) == _told(made)
    manifest = Manifest.load(made)
    assert sorted(seen) == sorted(v.index for v in (*manifest.victims, *manifest.failed))  # and none in vain


def test_workers_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 workers; need 1 or more"):
        make(spec(), tmp_path / "zoo", workers=0)
    assert not (tmp_path / "zoo").exists()


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**31))
def test_only_what_is_needed_for_certain_is_missing(models: int, seed: int) -> None:
    """Made in any order, with any implants failing, the zoo is what making one after the other gives."""
    zoo, rng = spec(models=models, seed=seed), np.random.default_rng(seed)
    fails = {index for index in range(400) if zoo.stratum(index) != "clean" and rng.random() < 0.3}
    one_by_one: dict[int, bool] = {}
    while needed := missing(zoo, one_by_one):
        one_by_one[needed[0]] = needed[0] in fails
    anyhow: dict[int, bool] = {}
    while needed := missing(zoo, anyhow):
        index = int(rng.choice(needed))
        anyhow[index] = index in fails
    assert anyhow == one_by_one
    assert Counter(zoo.stratum(i) for i, failed in anyhow.items() if not failed) == +Counter(zoo.quotas())


def test_what_a_huge_zoo_lacks_is_found_in_one_pass() -> None:
    zoo = spec(models=100_000)
    assert missing(zoo, {}) == tuple(range(100_000))
    assert missing(zoo, dict.fromkeys(range(99_990), False)) == tuple(range(99_990, 100_000))
    small = spec(models=5)
    assert list(itertools.islice(small.strata(), 23)) == [small.stratum(index) for index in range(23)]


def test_a_part_of_a_zoo_has_the_victims_of_the_whole(made: Path, tmp_path: Path) -> None:
    part = make(spec(), tmp_path, indices=[range(4, 7), range(1, 2)])
    assert [victim.index for victim in part.victims] == [1, 4, 5]
    assert _files(tmp_path) == {file: hash_ for file, hash_ in _files(made).items() if int(file[:4]) in (1, 4, 5)}
    assert not part.complete


def test_the_rest_of_a_zoo_joins_its_part(made: Path, tmp_path: Path) -> None:
    make(spec(), tmp_path, indices=[range(4, 6)])
    told: list[int] = []
    make(spec(), tmp_path, lambda victim: told.append(victim.index))
    assert told == [0, 1, 2, 3]
    assert _told(tmp_path) == _told(made)


def test_a_failed_model_is_not_replaced_by_one_outside_of_the_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop, "train", lambda network, images, config, seed: network.eval())
    monkeypatch.setattr(workshop, "evaluate", lambda _model, _images, attack, _: Evaluation(0.8, attack and 0.0))
    part = make(spec(clean_share=0.0), tmp_path, indices=[range(2, 4)])
    assert ([v.index for v in part.failed], part.victims) == ([2, 3], ())


def test_a_part_that_is_no_part_of_the_zoo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none of these indices; its models are 0 to 5"):
        make(spec(), tmp_path / "new", indices=[range(6, 9)])
    assert not (tmp_path / "new").exists()
