"""Victims made by several processes at once; which ones, and what they are, does not depend on how many."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeAlias

import torch

from simkit.children import children
from simkit.errors import ConfigError
from simkit.zoo.manifest import Victim
from simkit.zoo.spec import ZooSpec
from simkit.zoo.workshop import Workshop

ToMake: TypeAlias = Callable[[], tuple[int, ...]]
"""The indices that are still to be made; asked again after each victim."""


def made_by_processes(workshop: Workshop, to_make: ToMake, workers: int) -> Generator[Victim, None, None]:
    """Victims as they are finished. Each process has as many torch threads as this one, and reads the images itself.

    Raises what making one or `to_make` raises, once the victims that others were at are handed over; and ConfigError
    where a process died. An interrupt, or an end before the last victim, ends the processes where they are.
    """
    running: dict[Future[Victim], int] = {}
    with children(workers, multiprocessing.get_context("spawn"), torch.get_num_threads()) as pool:
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
            yield from _good(wait(running).done)  # minutes of work each, and nothing is wrong with them
            raise


def _good(done: Iterable[Future[Victim]]) -> Iterator[Victim]:
    return (future.result() for future in done if future.exception() is None)


def _make(spec: ZooSpec, out: Path, index: int) -> Victim:
    return _workshop(spec.model_dump_json(), out).make(index)


@functools.cache
def _workshop(spec: str, out: Path) -> Workshop:
    """One a process: the images are read once."""
    return Workshop.open(ZooSpec.model_validate_json(spec), out)
