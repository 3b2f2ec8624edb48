"""Victims of the size `paper` made and scanned on one GPU within minutes, a line of results for every scan.

python benchmarks/paper.py --data PATH --out results/paper.jsonl --minutes 9

Several processes train the victims of the preset in their order, of which the first are clean and backdoored ones, and
others scan each victim as soon as it is made, with every detector by scores and by labels. A line is written when its
scan ends. When the time is up, what is under way is dropped: a victim in training is made anew and a scan goes on from
its last answer when the same command runs again. On a machine without a GPU the same can be tried in small:

python benchmarks/paper.py --data PATH --out /tmp/lines.jsonl --folder /tmp/paper --minutes 3 --device cpu --models 2
    --set train.epochs=1 --set train.train_images=2000 --set 'architectures=["conv4"]'

It has been run on CPUs only, in this small form, since no GPU was at hand: how many victims a GPU makes within the time
is not known. More training processes than keep the GPU busy make no victim sooner, and the first ones later.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar, cast

import torch
import typer

from simkit.files import make_folder
from simkit.home import home
from simkit.zoo.manifest import MANIFEST, Manifest, Victim
from simkit.zoo.presets import zoo_preset
from simkit.zoo.spec import ZooSpec
from simkit.zoo.zoo import make
from studies.cli.output import echo
from studies.cli.scripts import run
from studies.scan.overrides import with_settings
from studies.study.detectors import method
from studies.study.executors import Workers, worker_pool
from studies.study.image_hashes import ImageHashes
from studies.study.plan import config_hash, done_of, units_of
from studies.study.result_line import ResultLine
from studies.study.unit import Outcome, Study, Unit, scan_unit

DETECTORS = ("auto", "random-patch", "b3d")
ORACLES = ("scores", "label")

CHUNK = 500
"""Images per forward pass of a scan on a GPU, at least a whole call of most detectors."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Task:
    """The zoo, the place of the result lines, and the settings of all scans, with what they share but the oracle."""

    spec: ZooSpec
    folder: Path
    out: Path
    settings: dict[str, Any]

    def units(self, victim: Victim) -> tuple[Unit, ...]:
        """The scans of a victim, those by scores first."""
        images, methods = ImageHashes(), [method(name) for name in DETECTORS]
        return tuple(unit for study in self.studies() for unit in units_of(study, [victim], methods, images))

    def studies(self) -> tuple[Study, ...]:
        """The scans by scores, and those by labels. Raises ConfigError where the settings do not fit a detector."""
        where = self.folder / "zoo", self.spec.name, self.spec.split, self.out, self.folder / "ledgers"
        studies = tuple(Study(*where, self.settings | {"oracle": oracle}) for oracle in ORACLES)
        for study in studies:
            for name in DETECTORS:
                config_hash(study, method(name))
        return studies


def main(  # noqa: PLR0913 (the options are the interface)
    data: Annotated[str, typer.Option(help="The images, for training and for scans.")],
    out: Annotated[Path, typer.Option(help="The .jsonl file of result lines; no scan is repeated.")],
    minutes: Annotated[float, typer.Option(help="When to stop.", min=0.01)] = 9.0,
    preset: Annotated[str, typer.Option(help="A preset of zoos.")] = "cifar10",
    models: Annotated[int | None, typer.Option(help="Number of victims, in place of the preset's.")] = None,
    device: Annotated[str, typer.Option(help="Where victims are trained and scanned.")] = "cuda",
    trainers: Annotated[int, typer.Option(help="Processes that train, each with its own copy of the images.")] = 3,
    scanners: Annotated[int, typer.Option(help="Processes that scan; with 1, this process does.")] = 4,
    budget: Annotated[int, typer.Option(help="Query budget per scan.")] = 300_000,
    folder: Annotated[Path | None, typer.Option(help="Of victims and ledgers; by default in SIMKIT_HOME.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of the zoo's spec.")] = None,
) -> None:
    began = time.monotonic()
    torch.set_num_threads(1)
    fields = with_settings(zoo_preset(preset, "report", models, data, "paper").model_dump(mode="json"), settings or [])
    spec = ZooSpec.of(with_settings(fields, [f"train.device={device}"]))
    of_scans = {"data": data, "image_size": spec.image_size, "budget": budget, "device": device}
    task = Task(
        spec, folder or home() / "paper" / spec.name, out, of_scans | ({"chunk": CHUNK} if device != "cpu" else {})
    )
    task.studies()  # complains before anything is trained
    make_folder(out.parent)
    try:
        with limited(60 * minutes), scanning(Workers(scanners)) as pool:
            scans = Scans(task, pool, began)
            for victim in there(task.folder / "zoo"):
                scans.of(victim)
            make(spec, task.folder / "zoo", scans.of, trainers)
            missed = scans.missed()
        ended = f"without {missed} scans; the same command tries them again" if missed else "all of them are scanned"
    except KeyboardInterrupt:
        missed, ended = 0, "the time is up, or Ctrl-C; the same command goes on"
    echo(f"{len(there(task.folder / 'zoo'))} of {spec.models} victims, {time.monotonic() - began:.0f} s: {ended}")
    if missed:
        raise typer.Exit(1)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Ends the body after that time as Ctrl-C does, which reaches the main thread wherever it waits."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    timer = threading.Timer(seconds, signal.pthread_kill, (main_thread, signal.SIGINT))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def scanning(workers: Workers) -> Iterator[Executor]:
    """Where scans run; none of them outlives an exception in the body."""
    if workers.here:
        yield Here()
    else:
        with worker_pool(workers, "studies.study.workers") as pool:
            yield pool.executor


class Here(Executor):
    """Does its work in this process, at once."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        done: Future[_T] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def there(zoo: Path) -> tuple[Victim, ...]:
    """The victims that were made already."""
    return Manifest.load(zoo).victims if (zoo / MANIFEST).exists() else ()


class Scans:
    """Scans victims in an executor, and prints a line for each of them when its last scan has ended."""

    def __init__(self, task: Task, pool: Executor, began: float) -> None:
        self._task, self._pool, self._began = task, pool, began
        self._running: list[Future[Outcome]] = []
        self._lock = threading.Lock()

    def of(self, victim: Victim) -> None:
        """Start the scans of this victim that have no line yet; none if its backdoor training failed."""
        units = () if victim.failed else self._task.units(victim)
        lines = list(done_of(units, self._task.out).values())
        left = [unit for unit in units if unit.key not in {line.unit for line in lines}]
        if not left:
            self._tell(victim, lines)

        def ended(future: Future[Outcome]) -> None:
            if future.cancelled() or future.exception() is not None:
                return  # the process was ended: its ledger has what was answered
            outcome = future.result()
            if outcome.line is None:
                why = "; ".join(outcome.messages) or outcome.state
                echo(f"error: {outcome.unit.detector} on victim {victim.index}: {why}", err=True)
            with self._lock:
                left.remove(outcome.unit)
                lines.extend([] if outcome.line is None else [outcome.line])
                if not left:
                    self._tell(victim, lines)

        for unit in tuple(left):
            future = self._pool.submit(scan_unit, unit)
            self._running.append(future)
            future.add_done_callback(ended)

    def missed(self) -> int:
        """Wait for all scans, and return how many of them failed, or lost their process."""
        return sum(future.exception() is not None or future.result().line is None for future in self._running)

    def _tell(self, victim: Victim, lines: Sequence[ResultLine]) -> None:
        echo(f"{time.monotonic() - self._began:5.0f} s  {words(victim, lines)}")


def words(victim: Victim, lines: Sequence[ResultLine]) -> str:
    """A victim and the verdicts on it in one line."""
    rate = "" if victim.success_rate is None else f", ASR {victim.success_rate:.1%}"
    failed = " (too low: the next model of its stratum replaces it)" if victim.failed else ""
    of_victim = f"{victim.index:4d}  {victim.stratum}: clean accuracy {victim.clean_accuracy:.1%}{rate}{failed}"
    order = [(name, labels) for labels in (False, True) for name in DETECTORS]
    verdicts = {(line.detector, labels_only(line)): line for line in lines}
    said = [_verdict(verdicts[key]) for key in order if key in verdicts]
    return "; ".join([f"{of_victim}, made in {victim.seconds:.0f} s", *said])


def labels_only(line: ResultLine) -> bool:
    """Whether the service of this line answered labels only."""
    return cast(bool, line.config["oracle"]["label_only"])


def _verdict(line: ResultLine) -> str:
    right = "" if line.right else " (wrong)"
    by = "labels" if labels_only(line) else "scores"
    return f"{line.detector} by {by} {line.verdict}{right}, {line.queries:,} queries, {line.seconds:.1f} s"


if __name__ == "__main__":
    run(main, __doc__)
