"""Making a zoo: which victims it still needs, made one after the other or by several processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path

from filelock import FileLock, Timeout

from simkit.errors import ConfigError
from simkit.files import make_folder
from simkit.zoo.manifest import MANIFEST, Manifest, Victim
from simkit.zoo.processes import ToMake, made_by_processes
from simkit.zoo.spec import SEEDS_A_SPLIT, ZooSpec
from simkit.zoo.workshop import Workshop

_MOST_FAILURES = 10
"""A stratum gives up when so many times its quota of implants have failed."""

Progress = Callable[[Victim], None]


def make(spec: ZooSpec, out: str | Path, progress: Progress | None = None, workers: int = 1) -> Manifest:
    """Make the zoo in `out`, or finish the one begun there.

    progress: called with each victim as it is finished, failed implants included. workers: processes, each with as many
    torch threads as this one; how many makes no difference to what they make. Resuming gives the same weights as an
    unbroken run with as many torch threads on the CPU; a file that is missing or was changed is made again. Raises
    DataError if the data cannot be read; ConfigError if `out` holds something else, another process is at it, or
    implants keep failing; StorageError if it cannot be written.
    """
    if workers < 1:
        raise ConfigError(f"{workers} workers; need 1 or more")
    out = Path(out)
    workshop = Workshop.open(spec, out)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; name a folder for the zoo")
    make_folder(out)
    try:
        with FileLock(out / ".lock", timeout=0):
            return _fill(workshop, progress, workers)
    except Timeout as error:
        raise ConfigError(f"{out}: another process is making this zoo; wait for it, or name another folder") from error


def missing(spec: ZooSpec, failed: Mapping[int, bool]) -> tuple[int, ...]:
    """The models that the zoo needs for certain, whatever becomes of those not made yet; none when it is complete.

    failed: for each finished index, whether its implant failed. Walks through the indices until every stratum has its
    quota; a model that is not made yet counts as a success, so that none is made in vain. Raises ConfigError where a
    stratum failed too often.
    """
    quotas, needed = spec.quotas(), []
    done: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for index in range(SEEDS_A_SPLIT):
        if done.total() == spec.models:
            break
        stratum = spec.stratum(index)
        if done[stratum] == quotas[stratum]:
            continue
        if index not in failed:
            needed.append(index)
        (failures if failed.get(index, False) else done)[stratum] += 1
        if failures[stratum] >= _MOST_FAILURES * quotas[stratum]:
            raise ConfigError(
                f"zoo {spec.name}: {failures[stratum]} implants of {stratum} failed, {done[stratum]} of "
                f"{quotas[stratum]} succeeded; lower required_success, raise rate, or train longer"
            )
    return tuple(needed)


def _fill(workshop: Workshop, progress: Progress | None, workers: int) -> Manifest:
    """Make what is missing until nothing is; every finished victim is in the manifest at once."""
    manifest = _begun(workshop)
    known = {v.index: v for v in (*manifest.victims, *manifest.failed) if workshop.intact(v)}

    def to_make() -> tuple[int, ...]:
        return missing(workshop.spec, {index: victim.failed for index, victim in known.items()})

    making = _made(workshop, to_make) if workers == 1 else made_by_processes(workshop, to_make, workers)
    with closing(making):  # while the folder is locked, no process is left at work in it
        for victim in making:
            known[victim.index] = victim
            manifest = _noted(manifest, known)
            manifest.save(workshop.out)
            if progress is not None:
                progress(victim)
    return manifest


def _made(workshop: Workshop, to_make: ToMake) -> Generator[Victim, None, None]:
    while needed := to_make():
        yield workshop.make(needed[0])


def _begun(workshop: Workshop) -> Manifest:
    """The manifest in the folder if it is of this zoo; a new one if there is none."""
    spec, out, fresh = workshop.spec, workshop.out, workshop.fresh()
    if not (out / MANIFEST).exists():
        if any(out.glob("*.safetensors")):
            raise ConfigError(f"{out}: holds weights but no {MANIFEST}; name an empty folder")
        fresh.save(out)
        return fresh
    found = Manifest.load(out)
    differ = [name for name in ZooSpec.model_fields if getattr(found.spec, name) != getattr(spec, name)]
    if differ:
        raise ConfigError(f"{out}: holds a zoo of another {', '.join(differ)}; name another folder")
    if found.data_sha256 != fresh.data_sha256:
        raise ConfigError(f"{out}: was begun on other training images than {spec.data} holds now")
    return found


def _noted(manifest: Manifest, known: dict[int, Victim]) -> Manifest:
    ordered = [known[index] for index in sorted(known)]
    kept, failed = (tuple(v for v in ordered if v.failed is failure) for failure in (False, True))
    return manifest.model_copy(update={"victims": kept, "failed": failed})
