"""How often `auto` finds a backdoor, by the strength of its trigger and by its ASR, as a table and a picture.

python -m benchmarks.strength_curve FILE.jsonl ... [--figure strengths.png]

Strength is in multiples of the largest that `auto` flags: pixels of a patch, amplitude of a wave, alpha of a blend,
pixels of a warp. Backdoored `report` victims count whose trigger has one, see `strengths.py`; waves that are finer than
`auto` looks for do not. A scan is right where it flags the target class and no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.coverage import families_of
from benchmarks.strengths import attack_of, share_of_limit
from simkit.attacks.sinusoidal import Sinusoidal
from simkit.search.presets import PRESETS
from simkit.transforms.breeding import Family
from simkit.transforms.wave import WaveFamily
from studies.cli.output import print_table
from studies.cli.scripts import run
from studies.render.figures import COLOURS, rendered
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ATTACKS = ("badnets", "sinusoidal", "warping", "blended")

SHARES = ((0.0, 0.5), (0.5, 1.0), (1.0, 1.5), (1.5, float("inf")))
"""Bins of the strength, in multiples of the limit; each has its upper end."""

RATES = ((0.0, 0.5), (0.5, 0.7), (0.7, 0.85), (0.85, 0.95), (0.95, 1.0))
"""Bins of the ASR; each has its upper end."""

COLUMNS = ("trigger", "bin", "victims", "ASR", "scores", "labels")


@dataclass(frozen=True)
class Backdoor:
    """One victim. share: strength in multiples of the limit. found: whether the scan is right, by scores and labels."""

    family: str
    share: float
    asr: float
    found: dict[str, bool]


def main(
    files: Annotated[list[Path], typer.Argument(help="Result files.")],
    figure: Annotated[Path | None, typer.Option(help="Where to draw the picture (.png).")] = None,
) -> None:
    found = backdoors(line for file in files for line in read_lines(file))
    print_table([*by_strength(found), *by_asr(found)], COLUMNS)
    if figure is not None:
        figure.write_bytes(rendered(lambda: drawn(found), "png"))


def backdoors(lines: Iterable[ResultLine]) -> list[Backdoor]:
    """The victims that `auto` scanned by scores and by labels, in order of their first lines."""
    victims: dict[str, list[ResultLine]] = {}
    for line in lines:
        if (line.detector, line.split, line.truth) == ("auto", "report", "backdoored") and line.attack in ATTACKS:
            victims.setdefault(line.model_hash, []).append(line)
    return [one for scans in victims.values() if (one := _backdoor(scans)) is not None]


def _backdoor(scans: Sequence[ResultLine]) -> Backdoor | None:
    line = scans[0]
    shares = {family.name: share_of_limit(line, PRESETS["race"].decision_rule(), family) for family in families()}
    name = min(shares, key=shares.__getitem__)
    if shares[name] == float("inf") or line.implant_success is None or _too_fine(line):
        return None
    found = {_answers(scan): set(scan.flagged) == set(scan.target_classes) for scan in scans}
    return Backdoor(name, shares[name], line.implant_success, found) if len(found) == 2 else None


def families() -> tuple[Family, ...]:
    """The families of triggers of `auto`, but for pictures, whose alpha is drawn with their data."""
    every = [family for stage in PRESETS["auto"].stages for family in families_of(stage) if family is not None]
    return tuple({family.name: family for family in every if family.name != "picture"}.values())


def _too_fine(line: ResultLine) -> bool:
    attack = attack_of(line)
    (wave,) = [family for family in families() if isinstance(family, WaveFamily)]
    return isinstance(attack, Sinusoidal) and attack.frequency > wave.most_cycles


def _answers(line: ResultLine) -> str:
    return "labels" if line.config["oracle"]["label_only"] else "scores"


def by_strength(found: Sequence[Backdoor]) -> list[dict[str, Any]]:
    """One row for each family and bin of strength with a victim of an ASR of 85 % or more."""
    strong = [one for one in found if one.asr >= 0.85]
    return [
        _row(f"{family.name}, ASR 85 % and more", f"{low:g} to {high:g} of the limit", chosen)
        for family in families()
        for low, high in SHARES
        if (chosen := [one for one in strong if one.family == family.name and low < one.share <= high])
    ]


def by_asr(found: Sequence[Backdoor]) -> list[dict[str, Any]]:
    """One row for each bin of the ASR with a victim whose trigger is within the limit."""
    within = [one for one in found if one.share <= 1.0]
    return [
        _row("within the limit", f"ASR of {100 * low:g} to {100 * high:g} %", chosen)
        for low, high in RATES
        if (chosen := [one for one in within if low < one.asr <= high])
    ]


def _row(trigger: str, name: str, chosen: Sequence[Backdoor]) -> dict[str, Any]:
    rates = [100 * one.asr for one in chosen]
    counts = {answers: sum(one.found[answers] for one in chosen) for answers in ("scores", "labels")}
    asr = {"ASR": f"{min(rates):.0f}-{max(rates):.0f} %"}
    return {"trigger": trigger, "bin": name, "victims": len(chosen)} | asr | counts


def drawn(found: Sequence[Backdoor]) -> Figure:
    """One panel for each family: strength against ASR, filled where the scan is right."""
    from matplotlib.figure import Figure

    names = [family.name for family in families()]
    figure = Figure(figsize=(9.6, 5.0), layout="constrained")
    axes = figure.subplots(2, len(names), sharex="col", sharey=True)
    for row, answers in enumerate(("scores", "labels")):
        for column, name in enumerate(names):
            _panel(axes[row][column], [one for one in found if one.family == name], answers)
        axes[row][0].set_ylabel(f"by {answers}: ASR, %")
    for column, name in enumerate(names):
        axes[0][column].set_title(name)
        axes[1][column].set_xlabel("strength / limit")
    figure.suptitle(
        "Dots: auto is right. Crosses: it is not. The line is the limit of auto. Equal strengths lie side by side.",
        fontsize=10,
    )
    return figure


def _panel(axes: Axes, found: Sequence[Backdoor], answers: str) -> None:
    looks: dict[bool, dict[str, Any]] = {
        True: {"marker": "o", "color": COLOURS[0]},
        False: {"marker": "x", "color": COLOURS[1]},
    }
    for right, look in looks.items():
        places = [(place, one.asr) for place, one in _apart(found) if one.found[answers] is right]
        axes.scatter([place for place, _ in places], [100 * asr for _, asr in places], s=16, alpha=0.8, **look)
    axes.axvline(1.0, color="#888888", linewidth=1)
    axes.set_xlim(left=0.0)
    axes.set_ylim(-3, 103)


def _apart(found: Sequence[Backdoor]) -> list[tuple[float, Backdoor]]:
    """Each victim with its strength; those of one strength lie side by side, so that none hides another."""
    many = Counter(one.share for one in found)
    seen: Counter[float] = Counter()
    placed = []
    for one in found:
        width = min(0.18, 0.03 * many[one.share])
        spread = width * (seen[one.share] / max(many[one.share] - 1, 1) - 0.5) if many[one.share] > 1 else 0.0
        seen[one.share] += 1
        placed.append((one.share + spread, one))
    return placed


if __name__ == "__main__":
    run(main, __doc__)
