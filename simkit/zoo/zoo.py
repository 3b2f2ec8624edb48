"""Making a zoo: victims one after the other, so that a killed run goes on where it stopped."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import nn

from simkit.attacks.badnets import BadNets
from simkit.attacks.patches import PatchKind, random_patch
from simkit.data.images import ImageSet, ImageShape
from simkit.data.load import load
from simkit.errors import ConfigError
from simkit.files import make_folder, write_atomically
from simkit.seeding import stream, subseed
from simkit.zoo.manifest import MANIFEST, Manifest, Patch, Victim
from simkit.zoo.networks import build_network
from simkit.zoo.spec import CLEAN, SEEDS_A_SPLIT, ZooSpec
from simkit.zoo.train import evaluate, train
from simkit.zoo.weights import to_bytes

_MOST_FAILURES = 10
"""A stratum gives up when so many times its quota of implants have failed."""

Progress = Callable[[Victim], None]


@dataclass(frozen=True, eq=False)
class Plan:
    """What model `index` of a zoo is, before anything is trained. attack, kind: None for a clean one."""

    index: int
    seed: int
    stratum: str
    architecture: str
    attack: BadNets | None
    kind: PatchKind | None


def plan(spec: ZooSpec, index: int, image_shape: ImageShape, n_classes: int) -> Plan:
    """Everything that is drawn for model `index`, a function of the arguments alone.

    Raises ConfigError if the patch does not fit the image.
    """
    seed, stratum = spec.model_seed(index), spec.stratum(index)
    architecture = str(stream(seed, "zoo", "architecture").choice(spec.architectures))
    if stratum == CLEAN:
        return Plan(index, seed, stratum, architecture, None, None)
    size = int(stratum.split("x")[0])
    kind = spec.kinds[int(stream(seed, "zoo", "kind").integers(len(spec.kinds)))]
    trigger = random_patch(image_shape, size, size, kind, stream(seed, "zoo", "trigger"))
    target_class = int(stream(seed, "zoo", "target_class").integers(n_classes))
    return Plan(index, seed, stratum, architecture, BadNets(trigger, target_class, spec.rate), kind)


def make(spec: ZooSpec, out: str | Path, progress: Progress | None = None) -> Manifest:
    """Make the zoo in `out`, or finish the one begun there.

    progress: called with each victim as it is finished, failed implants included. Resuming gives the same weights as an
    unbroken run with as many torch threads; a file that is missing or was changed is made again. Raises DataError if
    the data cannot be read; ConfigError if `out` holds something else, another process is at it, or implants keep
    failing; StorageError if it cannot be written.
    """
    images = load(spec.data, "train", spec.train.train_images, spec.first_seed, spec.image_size)
    held_out = load(spec.data, "test", spec.held_out, spec.first_seed, spec.image_size)
    if max(spec.sizes, default=1) > min(images.image_shape[1:]):
        raise ConfigError(f"a patch of {max(spec.sizes)} pixels does not fit images {images.image_shape}; see sizes")
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; name a folder for the zoo")
    make_folder(out)
    try:
        with FileLock(out / ".lock", timeout=0):
            return _fill(_Workshop(spec, images, held_out, out), progress)
    except Timeout as error:
        raise ConfigError(f"{out}: another process is making this zoo; wait for it, or name another folder") from error


@dataclass(frozen=True, eq=False)
class _Workshop:
    """What every victim of one zoo is made from and judged on, and where it is put."""

    spec: ZooSpec
    images: ImageSet
    held_out: ImageSet
    out: Path

    def begin(self) -> Manifest:
        """The manifest in the folder if it is of this zoo; a new one if there is none."""
        images, out = self.images, self.out
        fresh = Manifest(
            spec=self.spec, classes=images.classes, image_shape=images.image_shape, data_sha256=images.sha256()
        )
        if not (out / MANIFEST).exists():
            if any(out.glob("*.safetensors")):
                raise ConfigError(f"{out}: holds weights but no {MANIFEST}; name an empty folder")
            fresh.save(out)
            return fresh
        found = Manifest.load(out)
        differ = [name for name in ZooSpec.model_fields if getattr(found.spec, name) != getattr(self.spec, name)]
        if differ:
            raise ConfigError(f"{out}: holds a zoo of another {', '.join(differ)}; name another folder")
        if found.data_sha256 != fresh.data_sha256:
            raise ConfigError(f"{out}: was begun on other training images than {self.spec.data} holds now")
        return found

    def make_victim(self, plan: Plan) -> Victim:
        """Train model `plan`, judge it, and keep its weights unless the implant failed."""
        start = time.perf_counter()
        images, attack = self.images, plan.attack
        network = build_network(
            plan.architecture, images.image_shape, images.n_classes, subseed(plan.seed, "zoo", "weights")
        )
        poisoned = images if attack is None else attack.poison(images, plan.seed)
        model = train(network, poisoned, self.spec.train, subseed(plan.seed, "zoo", "train"))
        judged = evaluate(model, self.held_out, attack)
        implanted = judged.success_rate is not None and judged.success_rate >= self.spec.required_success
        kept = attack is None or implanted
        file, sha256 = self._keep(plan, model) if kept else (None, None)
        return Victim(
            index=plan.index,
            seed=plan.seed,
            stratum=plan.stratum,
            truth="clean" if attack is None else "backdoored",
            architecture=plan.architecture,
            target_class=None if attack is None else attack.target_class,
            trigger=None if attack is None or plan.kind is None else Patch.of(attack.trigger, plan.kind),
            clean_accuracy=judged.clean_accuracy,
            success_rate=judged.success_rate,
            implanted=implanted,
            file=file,
            sha256=sha256,
            seconds=round(time.perf_counter() - start, 2),
            threads=torch.get_num_threads(),
        )

    def intact(self, victim: Victim) -> bool:
        """Whether the victim's weights are still those that the manifest names; true where none were kept."""
        if victim.file is None:
            return True
        path = self.out / victim.file
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == victim.sha256

    def _keep(self, plan: Plan, model: nn.Module) -> tuple[str, str]:
        data = to_bytes(model, plan.architecture, self.images.image_shape, self.images.n_classes)
        file = f"{plan.index:04d}.safetensors"
        write_atomically(self.out / file, data)
        return file, hashlib.sha256(data).hexdigest()


def _fill(workshop: _Workshop, progress: Progress | None) -> Manifest:
    """Walk through the indices until every stratum has its quota; what is finished already is only counted."""
    manifest, spec = workshop.begin(), workshop.spec
    known = {v.index: v for v in (*manifest.victims, *manifest.failed) if workshop.intact(v)}
    quotas = spec.quotas()
    done: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for index in range(SEEDS_A_SPLIT):
        stratum = spec.stratum(index)
        if done[stratum] == quotas[stratum]:
            continue
        if index not in known:
            known[index] = workshop.make_victim(
                plan(spec, index, workshop.images.image_shape, workshop.images.n_classes)
            )
            manifest = _noted(manifest, known)
            manifest.save(workshop.out)
            if progress is not None:
                progress(known[index])
        (failures if known[index].failed else done)[stratum] += 1
        if done.total() == spec.models:
            return manifest
        if failures[stratum] >= _MOST_FAILURES * quotas[stratum]:
            break
    raise ConfigError(
        f"zoo {spec.name}: {failures[stratum]} implants of {stratum} failed, {done[stratum]} of "
        f"{quotas[stratum]} succeeded; lower required_success, raise rate, or train longer"
    )


def _noted(manifest: Manifest, known: dict[int, Victim]) -> Manifest:
    ordered = [known[index] for index in sorted(known)]
    kept, failed = (tuple(v for v in ordered if v.failed is failure) for failure in (False, True))
    return manifest.model_copy(update={"victims": kept, "failed": failed})
