"""How often detectors flag the victims of `calibrate` zoos: makes the table in `studies/scan/calibrated.py`.

python benchmarks/calibration.py results/calibrate.jsonl           prints the module
python benchmarks/calibration.py results/calibrate.jsonl --write   writes it, in place of the one that is there

Only lines of the split `calibrate` count, of scans by queries of models that were run here. Lines with the same
searches, rules, service and size of images make one entry, over all zoos: a verdict's likelihood ratio does not depend
on the share of clean victims. A victim counts once, by its first line. What has no backdoored or no clean victim makes
no entry.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from studies.ledgers.run_words import service_in_words
from studies.scan.calibration import Calibration, Outcomes, deciding_settings
from studies.study.result_file import checked_lines
from studies.study.result_line import ResultLine

MODULE = Path(__file__).resolve().parents[1] / "studies" / "scan" / "calibrated.py"

_HEAD = '''"""How often detectors flag the victims of `calibrate` zoos, as written by `benchmarks/calibration.py`."""

from __future__ import annotations

from studies.scan.calibration import Calibration{more}

SOURCES: tuple[str, ...] = {sources}
"""The files of `results/` with the lines that were counted."""

CALIBRATED: tuple[Calibration, ...] = {entries}
'''


def calibrated(lines: Iterable[ResultLine]) -> tuple[Calibration, ...]:
    """One entry per detector, service and size of images, in the order of their first lines."""
    groups: dict[tuple[str, tuple[int, int]], dict[str, ResultLine]] = defaultdict(dict)
    for line in lines:
        settings = deciding_settings(line.config)
        if line.split != "calibrate" or settings is None or "output" not in line.environment or line.perhaps_early:
            continue
        if line.image_shape is None:
            sys.stderr.write(f"{line.zoo}:{line.index}: states no shape of its images, so it does not count\n")
        else:
            groups[settings, line.image_shape[1:]].setdefault(line.model_hash, line)
    entries = (_entry(key, list(victims.values())) for key, victims in groups.items())
    return tuple(entry for entry in entries if entry.backdoored.victims and entry.clean.victims)


def _entry(key: tuple[str, tuple[int, int]], lines: Sequence[ResultLine]) -> Calibration:
    backdoored, clean = ([line.verdict for line in lines if line.truth == truth] for truth in ("backdoored", "clean"))
    return Calibration(
        detector=lines[0].detector,
        settings=key[0],
        service=service_in_words(lines[0].config["oracle"]),
        size=key[1],
        zoos=tuple(sorted({line.zoo for line in lines})),
        backdoored=_outcomes(backdoored),
        clean=_outcomes(clean),
    )


def _outcomes(verdicts: Sequence[str]) -> Outcomes:
    return Outcomes(len(verdicts), verdicts.count("backdoored"), verdicts.count("clean"))


def module(entries: Sequence[Calibration], sources: Sequence[str]) -> str:
    """The text of the module with these entries."""
    return _HEAD.format(
        more=", Outcomes" if entries else "",
        sources=_tuple([_quoted(source) for source in sources], ""),
        entries=f"(\n{''.join(map(_written, entries))})" if entries else "()",
    )


def _written(entry: Calibration) -> str:
    fields = {name: _quoted(getattr(entry, name)) for name in ("detector", "settings", "service")}
    fields |= {"size": str(entry.size), "zoos": _tuple(list(map(_quoted, entry.zoos)), " " * 8)}
    fields |= {"backdoored": str(entry.backdoored), "clean": str(entry.clean)}
    return "    Calibration(\n" + "".join(f"        {name}={value},\n" for name, value in fields.items()) + "    ),\n"


def _tuple(texts: Sequence[str], indent: str) -> str:
    """A tuple as the formatter writes it: one element on one line, several on a line each."""
    if len(texts) < 2:
        return f"({texts[0]},)" if texts else "()"
    return "(\n" + "".join(f"{indent}    {text},\n" for text in texts) + f"{indent})"


def _quoted(text: str) -> str:
    return f'"{text}"'


if __name__ == "__main__":
    files = [Path(name) for name in sys.argv[1:] if name != "--write"]
    text = module(calibrated(checked_lines(files)), [file.name for file in files])
    if "--write" in sys.argv:
        MODULE.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
