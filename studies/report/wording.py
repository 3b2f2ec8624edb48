"""What a report says in words: numbers, times, and why a verdict is what it is."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from studies.render.formats import interval, number, size_words
from studies.report.records import ClassRow, RunReport


def standing(run: RunReport) -> str:
    """The verdict, or `open` while there is none."""
    return "open" if run.verdict is None else run.verdict.verdict


def flagged_words(run: RunReport) -> str:
    """`class 3 cat and class 5 dog`; empty for none."""
    return " and ".join(f"class {_named(run, c)}" for c in sorted(run.verdict.flagged)) if run.verdict else ""


def _named(run: RunReport, target: int) -> str:
    """A class by its number, and its name where somebody told it; it need not have a trigger."""
    names = () if run.truth is None else run.truth.classes
    return f"{target} {names[target] if target < len(names) else ''}".rstrip()


def reason(run: RunReport) -> str:
    """Why the verdict is what it is, in one or two sentences, and what the run noted of it."""
    says = {"backdoored": _backdoored, "clean": _clean, "undecided": _undecided, "invalid": _invalid}
    if run.verdict is None:
        return _open(run)
    return f"{says[run.verdict.verdict](run)} {_sentence(run.verdict.notes)}".rstrip()


def stopped_words(run: RunReport) -> str:
    """Why no more was asked; a spent number below the budget is no fault."""
    if run.verdict is None:
        return "not finished"
    words = {
        "decided": "decided: a verdict needed no more",
        "converged": "converged: the search came to its end",
        "budget": "the budget does not pay for what was to be asked next",
        "refused": "the service refused to answer on",
    }
    return words.get(run.verdict.stopped, run.verdict.stopped)


def rule_words(run: RunReport) -> str:
    """The rule with its threshold, and under which size it flags."""
    if run.verdict is None:
        return "none yet"
    known = "" if run.verdict.threshold is None else f", threshold {run.verdict.threshold:g}"
    limit = "" if run.limit is None else f": flags masks {limit_words(run)}"
    return f"{run.verdict.rule}{known}{limit}"


def limit_words(run: RunReport) -> str:
    """`under 5.50 pixels`; empty where no size says what the rule flags."""
    return "" if run.limit is None or run.verdict is None else size_words(run.verdict.rule, run.limit)


def chosen_words(run: RunReport) -> str:
    """Which triggers are shown where not all are; empty where all are."""
    shown, there = len(run.reversed), sum(row.mask_size > 0 for row in run.classes)
    if shown >= there:
        return ""
    kinds = [("the flagged", "flagged"), ("the true target", "target")]
    first = [words for words, kind in kinds if any(getattr(row, kind) for row in run.classes)]
    chosen = ", ".join([*first, "those with the smallest masks"])
    return f"Shown are {shown} of {there} classes: {chosen}, working ones first."


def _backdoored(run: RunReport) -> str:
    tried = [
        f"A trigger of {number(row.mask_size)} pixels turns {interval(row.success)} unseen images into"
        f" class {row.label}."
        for row in run.classes
        if row.flagged
    ]
    return " ".join(tried or [f"{run.preset} flags {flagged_words(run)} and has no trigger to show."]) + _against(run)


def _clean(run: RunReport) -> str:
    if not run.classes:
        return f"{run.preset} came to its end and flags no class; it has no triggers to show."
    working = [row for row in run.classes if not row.censored]
    if not working:
        return "The search came to its end, and no class has a trigger that works on unseen images."
    least = min(working, key=lambda row: row.mask_size)
    found = f"the smallest that works has {number(least.mask_size)} pixels, for class {least.label}"
    return f"No class has a trigger that stands out and is confirmed: {found}.{_against(run)}"


def _undecided(run: RunReport) -> str:
    stopped = None if run.verdict is None else run.verdict.stopped
    if stopped == "refused":
        return f"The service refused to answer on before a verdict: {_spent(run)}."
    if stopped == "budget":  # which a test that is of no use half done may leave unspent
        return f"The budget is too small for a verdict: {_spent(run)}. A larger budget may decide it."
    return f"{run.preset} came to its end without a verdict."


def _invalid(_run: RunReport) -> str:
    return "The model does not answer as a trained classifier of these images would."


def _sentence(notes: str) -> str:
    return f"{notes[:1].upper()}{notes[1:]}{'' if notes.endswith(('.', '?', '!')) else '.'}" if notes else ""


def _open(run: RunReport) -> str:
    return f"No verdict yet: the scan is running, or was stopped and can go on. {_spent(run).capitalize()} so far."


def _spent(run: RunReport) -> str:
    cap = "" if run.budget is None else f" of {number(run.budget)}"
    return f"{number(run.spent)}{cap} queries are spent"


def _against(run: RunReport) -> str:
    return "" if run.limit is None else f" The rule flags masks {limit_words(run)}."


def summary(runs: Sequence[RunReport]) -> str:
    """How many runs ended how."""
    told = [standing(run) for run in runs]
    counted = {name: told.count(name) for name in ("backdoored", "clean", "undecided", "invalid", "open")}
    parts = ", ".join(f"{count} {name}" for name, count in counted.items() if count)
    return f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}: {parts}"


def truth_words(run: RunReport) -> str:
    """The truth about the model, and whether the verdict missed it."""
    if run.truth is None:
        return "–"  # noqa: RUF001
    targets = ", ".join(map(str, run.truth.target_classes))
    truth = f"class {targets}" if targets else run.truth.truth
    missed = {"undecided": "no verdict", "invalid": "no verdict"}.get(standing(run), "verdict wrong")
    return f"{truth} ({missed})" if run.right is False else truth


def command_lines(command: str) -> str:
    """A shell command with an option a line, to be read and to be copied."""
    groups: list[list[str]] = [[]]
    for word in shlex.split(command):
        if word.startswith("--"):
            groups.append([])
        groups[-1].append(word)
    return " \\\n    ".join(map(shlex.join, groups))


def row_note(row: ClassRow) -> str:
    """What is special about a class, in words."""
    notes = [("flagged", row.flagged), ("true target", row.target), ("censored", row.censored)]
    return ", ".join(note for note, holds in notes if holds)
