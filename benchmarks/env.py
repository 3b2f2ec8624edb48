"""Steps a second of the environment on recordings, and whether live arms do what was recorded.

python benchmarks/env.py RECORDINGS --live ZOO --data PATH --out results/env-speed.jsonl
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import gymnasium
import numpy as np
import torch
import typer

from simkit.env import ENV_ID
from simkit.env.allocation import AllocationEnv
from simkit.env.arms import Field
from simkit.env.episode import LiveVictim
from simkit.env.recording import Recording, recordings
from simkit.errors import ConfigError
from simkit.files import make_folder
from simkit.zoo.manifest import Manifest
from studies.cli.scripts import run
from studies.env.record import OpenedVictim, Zoo
from studies.scan.run_key import environment

ROUNDS = 3
"""Of timing; the best counts."""


def main(
    folder: Annotated[Path, typer.Argument(help="Of simkit env record.")],
    steps: Annotated[int, typer.Option(help="Steps to time, in a round.")] = 20_000,
    live: Annotated[Path | None, typer.Option(help="The zoo of the recordings, to ask some victims again.")] = None,
    data: Annotated[str, typer.Option(help="What the zoo was recorded with.")] = "",
    victims: Annotated[int, typer.Option(help="So many are asked again.")] = 3,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one more line.")] = None,
) -> None:
    known = recordings(folder)
    bare, made = AllocationEnv(known), gymnasium.make(ENV_ID, victims=known)
    told: dict[str, Any] = {
        "recordings": len(known),
        "steps a second": round(max(speed(bare, steps) for _ in range(ROUNDS))),
        "steps a second by gymnasium.make": round(max(speed(made, steps) for _ in range(ROUNDS))),
        "environment": environment(),
    }
    if live is not None:
        torch.set_num_threads(1)
        told["pulls that agree"], told["pulls compared"] = agreement(known, live, data, victims)
    typer.echo(json.dumps({name: value for name, value in told.items() if name != "environment"}, indent=2))
    if out is not None:
        make_folder(out.parent)
        with out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(told) + "\n")


def speed(env: gymnasium.Env[Any, Any], steps: int) -> float:
    """Steps a second, resets among them, of actions drawn from those that can be had; arms before verdicts."""
    rng = np.random.default_rng(0)
    _, info = env.reset(seed=0)
    draws, arms = rng.random(steps), len(info["action_mask"]) - 5
    started = time.perf_counter()
    for draw in draws:
        can = np.flatnonzero(info["action_mask"][: arms if draw > 0.02 else None])
        action = int(can[int(draw * len(can))]) if len(can) else arms
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            _, info = env.reset()
    return steps / (time.perf_counter() - started)


def agreement(known: list[Recording], folder: Path, data: str, victims: int = 1) -> tuple[int, int]:
    """Pulls of live arms that come to the recorded row, of all that were compared, arms taken in a drawn order."""
    manifest, agree, compared = Manifest.load(folder), 0, 0
    of_zoo = [recording for recording in known if recording.header.zoo == manifest.spec.name]
    if not of_zoo:
        raise ConfigError(f"no recordings of {manifest.spec.name} among these; give a zoo that they are of")
    for recording in of_zoo[:victims]:
        header = recording.header
        opened = OpenedVictim.of(zoo_of(recording, folder, data), manifest.victim(header.index))
        live = LiveVictim("live", opened.bench, backdoored=header.truth == "backdoored").begin()
        replayed, left = recording.begin(), [len(rows) for rows in recording.arms]
        rng = np.random.default_rng(header.index)
        while any(left):
            arm = int(rng.choice(np.flatnonzero(left)))
            one, other = live.pull(arm), replayed.pull(arm)
            agree += bool(np.array_equal(one.row, other.row))
            compared, left[arm] = compared + 1, 0 if one.row[Field.OVER] else left[arm] - 1
    return agree, compared


def zoo_of(recording: Recording, folder: Path, data: str) -> Zoo:
    """The zoo with the settings that it was recorded with."""
    header, known = recording.header, dict(recording.header.settings)
    arms = known.pop("arms")
    settings = {name: value for name, value in known.items() if value is not None}
    return Zoo(folder, header.zoo, header.split, Path(), settings | {"data": data}, arms)


if __name__ == "__main__":
    run(main, __doc__)
