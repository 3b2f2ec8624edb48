"""The text of a report: verdicts and the reasons for them, rules, thresholds and the truth, in words."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from simkit.triggers import in_short
from studies.render.formats import class_label, interval, number, size_words
from studies.report.records import ClassRow, RunReport
from studies.scan.ruled_out import in_words


def standing(run: RunReport) -> str:
    """The verdict, `open` while there is none, or `served` for a key's run, which never has one."""
    if run.caller is not None:
        return "served"
    return "open" if run.verdict is None else run.verdict.verdict


def flagged_words(run: RunReport) -> str:
    """The flagged classes, as in `class 3 cat and class 5 dog`; empty for none."""
    names = () if run.truth is None else run.truth.classes
    flagged = sorted(run.verdict.flagged) if run.verdict else ()
    return " and ".join(f"class {class_label(target, names)}" for target in flagged)


def reason(run: RunReport) -> str:
    """The reason for the verdict in one or two sentences, followed by the notes of the run."""
    reasons = {"backdoored": _backdoored, "clean": _clean, "undecided": _undecided, "invalid": _invalid}
    if run.caller is not None:
        charged = "1 query was" if run.spent == 1 else f"{number(run.spent)} queries were"
        return f"A key's run of simkit serve, which stays open: {charged} charged to the key {run.caller}."
    if run.verdict is None:
        return _open(run)
    return f"{reasons[run.verdict.verdict](run)} {_sentence(run.verdict.notes)}".rstrip()


def stopped_words(run: RunReport) -> str:
    """Why the run stopped sending queries, which may be before its budget is spent."""
    if run.verdict is None:
        return "not finished"
    words = {
        "decided": "decided: the verdict needed no further queries",
        "converged": "converged: the search reached its end",
        "budget": "budget: the rest of it does not cover the next step",
        "refused": "refused: the service stopped answering",
    }
    return words.get(run.verdict.stopped, run.verdict.stopped)


def searched_words(run: RunReport) -> list[str]:
    """What a clean verdict rules out, one sentence per search; empty for others and for older verdicts."""
    return [] if run.verdict is None else in_words(run.verdict.ruled_out or ())


def rule_words(run: RunReport) -> str:
    """The rule with its limit and the mask sizes that it flags."""
    if run.verdict is None:
        return "none yet"
    setting = "" if run.rule_limit is None else f", limit {run.rule_limit:g}"
    limit = "" if run.limit is None else f": flags masks {limit_words(run)}"
    return f"{run.verdict.rule}{setting}{limit}"


def limit_words(run: RunReport) -> str:
    """The mask sizes that the rule flags, as in `under 5.50 pixels`; empty where the rule has no size limit."""
    return "" if run.limit is None or run.verdict is None else size_words(run.verdict.rule, run.limit)


def chosen_words(run: RunReport) -> str:
    """Which triggers are shown; empty where all are."""
    shown, count = len(run.reversed), sum(row.mask_size > 0 for row in run.classes)
    if shown >= count:
        return ""
    kinds = [("flagged classes", "flagged"), ("the true target", "target")]
    first = [words for words, kind in kinds if any(getattr(row, kind) for row in run.classes)]
    order = ", then ".join([*first, "the smallest working masks"])
    return f"The triggers of {shown} of {count} classes are shown: {order}."


def _backdoored(run: RunReport) -> str:
    confirmed = [
        f"A {_kind(row)} turns {interval(row.success)} unseen images into class {row.label}."
        for row in run.classes
        if row.flagged
    ]
    flagged = [f"{run.preset} flags {flagged_words(run)} but has no trigger to show."]
    return " ".join(confirmed or flagged) + _against(run)


def _kind(row: ClassRow) -> str:
    """The trigger of a class by its size, or by its family and strength where it is no patch."""
    small = f"trigger of {number(row.mask_size)} pixels"
    return small if row.is_patch else f"{row.family} of {in_short(row.strength)} {row.unit}"


def _clean(run: RunReport) -> str:
    if not run.classes:
        return f"{run.preset} finished and flags no class; it has no triggers to show."
    working = [row for row in run.classes if not row.censored]
    if working and all(not row.is_patch for row in working):
        return f"No class has a trigger that is both flagged and confirmed.{_against(run)}"
    working = [row for row in working if row.is_patch]
    if not working:
        return "The search finished, and no class has a trigger that works on unseen images."
    least = min(working, key=lambda row: row.mask_size)
    smallest = f"the smallest working trigger has {number(least.mask_size)} pixels, for class {least.label}"
    return f"No class has a trigger that is both flagged and confirmed: {smallest}.{_against(run)}"


def _undecided(run: RunReport) -> str:
    stopped = None if run.verdict is None else run.verdict.stopped
    if stopped == "refused":
        return f"The service stopped answering before a verdict was reached: {_spent(run)}."
    if stopped == "budget":  # part of the budget stays unspent where it does not cover a whole test
        return f"The budget is too small for a verdict: {_spent(run)}. A larger budget may decide it."
    return f"{run.preset} finished without a verdict."


def _invalid(_run: RunReport) -> str:
    return "The model does not answer like a trained classifier of these images."


def _sentence(notes: str) -> str:
    return f"{notes[:1].upper()}{notes[1:]}{'' if notes.endswith(('.', '?', '!')) else '.'}" if notes else ""


def _open(run: RunReport) -> str:
    return f"No verdict yet: the scan is running, or was stopped and can be resumed. {_spent(run).capitalize()} so far."


def _spent(run: RunReport) -> str:
    cap = "" if run.budget is None else f" of {number(run.budget)}"
    return f"{number(run.spent)}{cap} queries were spent"


def _against(run: RunReport) -> str:
    return "" if run.limit is None else f" The rule flags masks {limit_words(run)}."


def summary(runs: Sequence[RunReport]) -> str:
    """The number of runs, in total and by verdict."""
    standings = [standing(run) for run in runs]
    counted = {name: standings.count(name) for name in ("backdoored", "clean", "undecided", "invalid", "open")}
    counted["of the keys of a service"] = standings.count("served")
    parts = ", ".join(f"{count} {name}" for name, count in counted.items() if count)
    return f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}: {parts}"


def truth_words(run: RunReport) -> str:
    """The truth about the model, and whether the verdict is wrong or missing."""
    if run.truth is None:
        return "–"  # noqa: RUF001
    targets = ", ".join(map(str, run.truth.target_classes))
    truth = f"target class {targets}" if targets else run.truth.truth
    missed = {"undecided": "no verdict", "invalid": "no verdict"}.get(standing(run), "verdict wrong")
    return f"{truth} ({missed})" if run.right is False else truth


def command_lines(command: str) -> str:
    """A shell command with one option per line, to be read and to be copied."""
    groups: list[list[str]] = [[]]
    for word in shlex.split(command):
        if word.startswith("--"):
            groups.append([])
        groups[-1].append(word)
    return " \\\n    ".join(map(shlex.join, groups))


def row_note(row: ClassRow) -> str:
    """The remarks on a class, such as `flagged, true target`."""
    notes = [("flagged", row.flagged), ("true target", row.target), ("censored", row.censored)]
    return ", ".join(note for note, holds in notes if holds)
