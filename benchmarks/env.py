"""Steps per second of the environment on recordings, and whether live arms reproduce the recordings.

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
"""Rounds of timing; the best one counts."""


def main(
    folder: Annotated[Path, typer.Argument(help="The folder written by simkit env record.")],
    steps: Annotated[int, typer.Option(help="Steps per round of timing.")] = 20_000,
    live: Annotated[Path | None, typer.Option(help="The zoo of the recordings, to query some victims again.")] = None,
    data: Annotated[str, typer.Option(help="The images that the recordings used.")] = "",
    victims: Annotated[int, typer.Option(help="Number of victims that are queried again.")] = 3,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one more line.")] = None,
) -> None:
    stored = recordings(folder)
    bare, made = AllocationEnv(stored), gymnasium.make(ENV_ID, victims=stored)
    figures: dict[str, Any] = {
        "recordings": len(stored),
        "steps a second": round(max(speed(bare, steps) for _ in range(ROUNDS))),
        "steps a second by gymnasium.make": round(max(speed(made, steps) for _ in range(ROUNDS))),
        "environment": environment(),
    }
    if live is not None:
        torch.set_num_threads(1)
        figures["pulls that agree"], figures["pulls compared"] = agreement(stored, live, data, victims)
    typer.echo(json.dumps({name: value for name, value in figures.items() if name != "environment"}, indent=2))
    if out is not None:
        make_folder(out.parent)
        with out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(figures) + "\n")


def speed(env: gymnasium.Env[Any, Any], steps: int) -> float:
    """Steps per second, including resets, with random available actions, mostly arms."""
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


def agreement(stored: list[Recording], folder: Path, data: str, victims: int = 1) -> tuple[int, int]:
    """Pulls of live arms, in random order, that match the recorded row, and the number of compared pulls."""
    manifest, agree, compared = Manifest.load(folder), 0, 0
    of_zoo = [recording for recording in stored if recording.header.zoo == manifest.spec.name]
    if not of_zoo:
        raise ConfigError(f"no recordings of {manifest.spec.name} among these; give the zoo that was recorded")
    for recording in of_zoo[:victims]:
        header = recording.header
        opened = OpenedVictim.of(zoo_of(recording, folder, data), manifest.victim(header.index))
        live = LiveVictim("live", opened.bench, backdoored=header.truth == "backdoored").begin()
        replayed, left = recording.begin(), [len(rows) for rows in recording.arms]
        rng = np.random.default_rng(header.index)
        while any(left):
            arm = int(rng.choice(np.flatnonzero(left)))
            pulled, recorded = live.pull(arm), replayed.pull(arm)
            agree += bool(np.array_equal(pulled.row, recorded.row))
            compared, left[arm] = compared + 1, 0 if pulled.row[Field.OVER] else left[arm] - 1
    return agree, compared


def zoo_of(recording: Recording, folder: Path, data: str) -> Zoo:
    """The zoo with the settings of the recording."""
    header, stored = recording.header, dict(recording.header.settings)
    arms = stored.pop("arms")
    settings = {name: value for name, value in stored.items() if value is not None}
    return Zoo(folder, header.zoo, header.split, Path(), settings | {"data": data}, arms)


if __name__ == "__main__":
    run(main, __doc__)
