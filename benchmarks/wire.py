"""Images per second of processor time that each wire format reads and answers, without a connection or a model.

python benchmarks/wire.py --seconds 1 --out results/wire.jsonl

`server` is reading a call and writing its answer, `caller` is writing the call and reading the answer. Formats with
fewer images a call than the batch are asked for as many as they carry. Images are 3 x 32 x 32, classes are ten.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from oracles.answers import Scores
from oracles.wire.contract import Interface, Wire
from oracles.wire.registry import NAMES, wire
from simkit.files import make_folder
from studies.cli.output import print_table
from studies.cli.scripts import check_only, run
from studies.scan.run_key import environment

BATCHES = (1, 16, 128)
COLUMNS = ("format", "batch", "server", "caller")


def main(
    seconds: Annotated[float, typer.Option(min=0.001, help="Processor time of each measurement.")] = 1.0,
    only: Annotated[list[str] | None, typer.Option(help="Names of formats; all by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one line per row.")] = None,
) -> None:
    check_only(only, NAMES)
    rows = [row for name in only or NAMES for row in rates(wire(name), seconds)]
    print_table(rows, COLUMNS)
    if out is not None:
        make_folder(out.parent)
        with out.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps({**row, "environment": environment()}) + "\n" for row in rows)


def rates(found: Wire, seconds: float) -> list[dict[str, Any]]:
    """Images per second of both sides, for each batch that the format carries."""
    interface = Interface("net", (3, 32, 32), tuple(map(str, range(10))))
    batches = sorted({min(batch, found.most or batch) for batch in BATCHES})
    return [{"format": found.name, "batch": batch, **_rates(found, interface, batch, seconds)} for batch in batches]


def _rates(found: Wire, interface: Interface, batch: int, seconds: float) -> dict[str, int]:
    generator = np.random.default_rng(0)
    images = generator.random((batch, *interface.image_shape), dtype=np.float32)
    answer = Scores(generator.random((batch, len(interface.classes)), dtype=np.float32))
    call = found.ask(images, interface, None)
    reply = found.answer(found.read(call, interface), answer, interface)

    def server() -> None:
        found.answer(found.read(call, interface), answer, interface)

    def caller() -> None:
        found.ask(images, interface, None)
        found.understand(reply, batch, interface)

    return {"server": round(batch * _calls(server, seconds)), "caller": round(batch * _calls(caller, seconds))}


def _calls(work: Callable[[], None], seconds: float) -> float:
    """Calls per second of processor time."""
    count, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds:
        work()
        count += 1
    return count / spent


if __name__ == "__main__":
    run(main, __doc__)
