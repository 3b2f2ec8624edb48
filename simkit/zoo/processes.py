"""Makes victims in several processes. The result does not depend on the number of processes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeAlias

import torch

from simkit.children import children, fork_server
from simkit.errors import ConfigError
from simkit.zoo.manifest import Victim
from simkit.zoo.spec import ZooSpec
from simkit.zoo.workshop import Workshop

ToMake: TypeAlias = Callable[[], tuple[int, ...]]
"""Returns the indices that are still to be made; called again after each victim."""


def made_by_processes(workshop: Workshop, to_make: ToMake, workers: int) -> Generator[Victim, None, None]:
    """Yield victims as they are finished. Each process uses as many torch threads as this one and reads the images.

    Errors of `to_make` or of a victim are raised after the other running victims have been yielded. Raises ConfigError
    if a process died. If this generator is interrupted or closed early, the processes are terminated.
    """
    running: dict[Future[Victim], int] = {}
    with children(workers, fork_server("simkit.zoo.workshop"), torch.get_num_threads()) as pool:
        try:
            while True:
                for index in [i for i in to_make() if i not in running.values()][: workers - len(running)]:
                    running[pool.submit(_make, workshop.spec, workshop.out, index)] = index
                if not running:
                    return
                done = wait(running, return_when=FIRST_COMPLETED).done
                running = {future: index for future, index in running.items() if future not in done}
                yield from _good(done)
                for future in done:
                    future.result()
        except BrokenProcessPool as error:
            raise ConfigError(
                "a process that made victims died; is there memory for so many workers? "
                'A script of your own must make zoos under `if __name__ == "__main__":`'
            ) from error
        except Exception:
            yield from _good(wait(running).done)  # each took minutes to make, and they are intact
            raise


def _good(done: Iterable[Future[Victim]]) -> Iterator[Victim]:
    return (future.result() for future in done if future.exception() is None)


def _make(spec: ZooSpec, out: Path, index: int) -> Victim:
    try:
        return _workshop(spec.model_dump_json(), out).make(index)
    except Exception:
        _workshop.cache_clear()  # an attack of the user's own may have changed the images
        raise


@functools.cache
def _workshop(spec: str, out: Path) -> Workshop:
    """One workshop per process, so that the images are read once."""
    return Workshop.open(ZooSpec.model_validate_json(spec), out)
