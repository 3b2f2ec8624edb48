"""Makes a zoo: determines which victims it still needs, and makes them one by one or in several processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

from filelock import FileLock, Timeout

from simkit.errors import ConfigError
from simkit.files import make_folder
from simkit.zoo.manifest import MANIFEST, Manifest, Victim
from simkit.zoo.processes import ToMake, made_by_processes
from simkit.zoo.spec import SEEDS_A_SPLIT, ZooSpec
from simkit.zoo.workshop import Workshop

_MOST_FAILURES = 10
"""A stratum gives up after this many times its quota of failed models."""

Progress = Callable[[Victim], None]


def make(
    spec: ZooSpec,
    out: str | Path,
    progress: Progress | None = None,
    workers: int = 1,
    indices: Sequence[range] | None = None,
) -> Manifest:
    """Make the zoo in `out`, or complete the one that was started there.

    progress: called with each finished victim, including those whose backdoor training failed. workers: number of
    processes, each with as many torch threads as this one; it does not change the result. indices: make only the models
    in these ranges, each as it is in the whole zoo; one that failed is replaced only if its replacement is among them.
    On CPUs a resumed run gives the same weights as an uninterrupted one with the same number of torch threads; missing
    or changed files are made again. Raises DataError if the data cannot be read; ConfigError if `out` holds something
    else, another process is making the zoo, too many backdoors fail, or the zoo has none of `indices`; StorageError if
    `out` cannot be written.
    """
    if workers < 1:
        raise ConfigError(f"{workers} workers; need 1 or more")
    out = Path(out)
    workshop = Workshop.open(spec, out)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; name a folder for the zoo")
    if not (out / MANIFEST).exists():
        _check_some(spec, {}, indices)
    make_folder(out)
    try:
        with FileLock(out / ".lock", timeout=0):
            return _fill(workshop, progress, workers, indices)
    except Timeout as error:
        raise ConfigError(f"{out}: another process is making this zoo; wait for it, or name another folder") from error


def missing(spec: ZooSpec, failed: Mapping[int, bool]) -> tuple[int, ...]:
    """The models that the zoo certainly needs, whatever the outcome of unfinished ones; empty when it is complete.

    failed: for each finished index, whether its backdoor training failed. Goes through the indices until every stratum
    has its quota. An unfinished model counts as successful, so that no model is made unnecessarily. Raises ConfigError
    if a stratum failed too often.
    """
    quotas, needed = spec.quotas(), []
    done: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for index, stratum in enumerate(islice(spec.strata(), SEEDS_A_SPLIT)):
        if done.total() == spec.models:
            break
        if done[stratum] == quotas[stratum]:
            continue
        if index not in failed:
            needed.append(index)
        (failures if failed.get(index, False) else done)[stratum] += 1
        if failures[stratum] >= _MOST_FAILURES * quotas[stratum]:
            raise ConfigError(
                f"zoo {spec.name}: backdoor training of {stratum} failed {failures[stratum]} times, {done[stratum]} of "
                f"{quotas[stratum]} succeeded; lower required_success, raise rate, or train longer"
            )
    return tuple(needed)


def among(models: Iterable[int], indices: Sequence[range] | None) -> tuple[int, ...]:
    """Those of the models that lie in one of the ranges; all if `indices` is None."""
    return tuple(model for model in models if indices is None or any(model in part for part in indices))


def _check_some(spec: ZooSpec, failed: Mapping[int, bool], indices: Sequence[range] | None) -> None:
    """Raise ConfigError if none of the indices is a model that the zoo has or needs. failed: see `missing`."""
    if indices is not None and not among((*failed, *missing(spec, failed)), indices):
        raise ConfigError(
            f"zoo {spec.name} needs none of these indices; its models are 0 to {spec.models - 1}, and those that "
            "replace failed ones come after them"
        )


def _fill(workshop: Workshop, progress: Progress | None, workers: int, indices: Sequence[range] | None) -> Manifest:
    """Make all missing victims; every finished victim is written to the manifest immediately."""
    manifest = _begun(workshop)
    finished = {v.index: v for v in (*manifest.victims, *manifest.failed) if workshop.intact(v)}

    def to_make() -> tuple[int, ...]:
        return among(missing(workshop.spec, {i: victim.failed for i, victim in finished.items()}), indices)

    _check_some(workshop.spec, {i: victim.failed for i, victim in finished.items()}, indices)
    making = _made(workshop, to_make) if workers == 1 else made_by_processes(workshop, to_make, workers)
    with closing(making):  # no process may work in the folder after its lock is released
        for victim in making:
            finished[victim.index] = victim
            manifest = _with_victims(manifest, finished)
            manifest.save(workshop.out)
            if progress is not None:
                progress(victim)
    return manifest


def _made(workshop: Workshop, to_make: ToMake) -> Generator[Victim, None, None]:
    while needed := to_make():
        yield workshop.make(needed[0])


def _begun(workshop: Workshop) -> Manifest:
    """The manifest in the folder if it belongs to this zoo; a new one if there is none."""
    spec, out, fresh = workshop.spec, workshop.out, workshop.fresh()
    if not (out / MANIFEST).exists():
        if any(out.glob("*.safetensors")):
            raise ConfigError(f"{out}: holds weights but no {MANIFEST}; name an empty folder")
        fresh.save(out)
        return fresh
    stored = Manifest.load(out)
    differ = [name for name in ZooSpec.model_fields if getattr(stored.spec, name) != getattr(spec, name)]
    if differ:
        raise ConfigError(f"{out}: holds a zoo of another {', '.join(differ)}; name another folder")
    if stored.data_sha256 != fresh.data_sha256:
        raise ConfigError(f"{out}: was started with other training images than {spec.data} holds now")
    return stored


def _with_victims(manifest: Manifest, finished: dict[int, Victim]) -> Manifest:
    ordered = [finished[index] for index in sorted(finished)]
    kept, failed = (tuple(v for v in ordered if v.failed is failure) for failure in (False, True))
    return manifest.model_copy(update={"victims": kept, "failed": failed})
