"""Attacks of the user's own: drawn by a spec, kept by a manifest, and never imported because a file names them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from simkit.attacks.registry import attack_from_json, attack_to_json, original_trigger, target_classes
from simkit.attacks.several import Several
from simkit.attacks.sinusoidal import Sinusoidal
from simkit.data import ImageShape
from simkit.errors import ConfigError, DataError
from simkit.zoo.attack_draw import AttackDraw
from simkit.zoo.manifest import Manifest
from simkit.zoo.spec import ZooSpec
from simkit.zoo.zoo import make
from tests.simkit.attacks.own_attacks import Inverted, Stamped

HERE = "tests.simkit.attacks.own_attacks"
INVERTED = f"{HERE}:Inverted"
SHAPE: ImageShape = (3, 16, 16)


def _drawn(seed: int = 7, **fields: Any) -> Any:
    return AttackDraw.model_validate({"kind": INVERTED} | fields).draw(SHAPE, 5, 3, seed)


def test_it_is_drawn_and_goes_through_json_text() -> None:
    attack = _drawn(settings={"notes": ["a", "b"]}, ranges={"every": [2, 9]})
    assert isinstance(attack, Inverted)
    assert (attack.target_class, attack.notes, target_classes(attack)) == (3, ("a", "b"), (3,))
    assert len({_drawn(seed, ranges={"every": [2, 9]}).every for seed in range(20)}) > 3
    fields = attack_to_json(attack)
    assert fields == {"kind": INVERTED, "target_class": 3, "every": attack.every, "notes": ["a", "b"]}
    assert attack_from_json(json.loads(json.dumps(fields)), {INVERTED: Inverted}) == attack
    assert original_trigger(attack, SHAPE) is None


def test_a_trigger_is_drawn_where_the_stratum_has_one() -> None:
    attack = _drawn(kind=f"{HERE}:Stamped", trigger={"shape": "patch", "size": [2, 3]})
    assert isinstance(attack, Stamped)
    assert attack.trigger.mask_size == 6


def test_it_may_be_one_of_several() -> None:
    fields = attack_to_json(Several((Inverted(1), Sinusoidal(2))))
    again = attack_from_json(fields, {INVERTED: Inverted})
    assert target_classes(again) == (1, 2)
    with pytest.raises(ConfigError, match="somebody's own code"):
        attack_from_json(fields)


@pytest.mark.parametrize(("learned", "complaint"), [("nan", "Out of range float"), ("tensor", "Tensor is not JSON")])
def test_what_was_learned_is_stored_exactly_or_told(learned: str, complaint: str, tmp_path: Path) -> None:
    draw = {"kind": f"{HERE}:Learner", "settings": {"notes": [learned]}}
    spec = ZooSpec.of(
        {"name": "own", "data": "digits", "split": "tune", "models": 1, "clean_share": 0, "sizes": []}
        | {"attacks": {"learner": draw}, "architectures": ["flat"], "train": {"epochs": 1, "train_images": 64}}
    )
    with pytest.raises(ConfigError, match=f"own_attacks:Learner cannot be stored: .*{complaint}"):
        make(spec, tmp_path / "zoo")
    assert not list((tmp_path / "zoo").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kind": "no_such_module:Attack"}, "cannot import no_such_module: ModuleNotFoundError"),
        ({"kind": f"{HERE}:Nothing"}, "has no Nothing"),
        ({"kind": f"{HERE}:OBJECT"}, "is no class; name the class"),
        ({"kind": f"{HERE}:HIDDEN"}, "is defined inside of Outer; move it to its module"),
        ({"kind": f"{HERE}:Mute"}, "is no attack: it has no method poison"),
        ({"kind": f"{HERE}:Thawed"}, r"it has no @dataclass\(frozen=True\)"),
        ({"kind": f"{HERE}:Aimless"}, "it has no field target_class"),
        ({"kind": "json:loads"}, "is no class"),
        ({"settings": {"evry": 2}}, "no setting 'evry'; did you mean 'every'"),
        ({"settings": {"every": "often"}}, "every = 'often': Input should be a valid integer"),
        ({"settings": {"every": 0}}, "every 0 is below 1"),
        ({"settings": {"every": 77}}, "RuntimeError: not"),
        ({"trigger": {"shape": "patch", "size": [2, 2]}}, "no setting 'trigger'"),
        ({"kind": f"{HERE}:Endless"}, "cannot be stored: Out of range float values"),
        ({"kind": f"{HERE}:Forgetful"}, "not those that it was made of"),
        ({"kind": f"{HERE}:Arrays"}, "fields are plain values, or a StoredTrigger"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        _drawn(**fields)
    assert "\n" not in str(caught.value)


def test_a_zoo_of_it_is_made_and_read_again(tmp_path: Path) -> None:
    fields = {"kind": INVERTED, "settings": {"every": 4}}
    spec = ZooSpec.of(
        {"name": "own", "data": "digits", "split": "tune", "models": 1, "clean_share": 0, "sizes": []}
        | {"attacks": {"dark": fields}, "train": {"epochs": 3}, "required_success": 0, "architectures": ["flat"]}
    )
    make(spec, tmp_path)
    manifest = Manifest.load(tmp_path)
    (victim,) = manifest.victims
    assert victim.attack_kind == INVERTED
    assert victim.attacked({INVERTED: Inverted}) == Inverted(victim.target_classes[0], every=4)
    assert victim.success_rate is not None
    assert victim.success_rate > 0.8
    assert victim.trigger(manifest.image_shape) is None
    with pytest.raises(DataError, match=r"victim 0 of the manifest: attack .*somebody's own code"):
        victim.attacked()


def test_no_module_is_imported_because_a_file_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "of_a_stranger.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    kind = "of_a_stranger:Attack"
    fields = {"name": "own", "data": "digits", "split": "tune", "models": 1, "attacks": {"dark": {"kind": kind}}}
    spec = ZooSpec.model_validate_json(json.dumps(fields))
    Manifest(spec=spec, classes=("a", "b"), image_shape=(1, 8, 8), data_sha256="").save(tmp_path)
    assert Manifest.load(tmp_path).spec.attacks["dark"].kind == kind
    with pytest.raises(ConfigError, match="somebody's own code"):
        attack_from_json({"kind": kind, "target_class": 1})
    assert "of_a_stranger" not in sys.modules
    assert not (tmp_path / "imported").exists()
    with pytest.raises(ConfigError, match="of_a_stranger has no Attack"):
        spec.draws()["dark"].draw((1, 8, 8), 2, 0, 0)
    assert (tmp_path / "imported").exists()  # so the canary works
