"""What a table says in words: shares with their intervals, amounts, victims, and what to know before believing it."""

from __future__ import annotations

from studies.render.formats import NONE, amount, counted, spread_words
from studies.results.table.records import By, Configurations, Cost, Pair, Rates, Victims
from studies.statistics import RESAMPLES

TITLES: dict[By, str] = {"size": "trigger size (stratum)", "attack": "attack", "architecture": "architecture"}
"""What a breakdown is by."""

READING = (
    "In brackets the Wilson interval (95 %). A verdict `undecided` or `invalid` counts as wrong, and as no accusation:"
    " it lowers accuracy and TPR, never FPR.",
    "FPR is of the clean victims alone: with 20 of them no false alarm still leaves 0 to 16 %, with 50 it leaves 0 to"
    " 7 %.",
    "AUROC is of the continuous score, whatever the verdict; of scans in stages, the scores of which are on no one"
    " scale, of the verdict first and then of the score. A tie counts half, and a victim without a score lies below all"
    f" scores. Its interval (95 %) is a bootstrap over victims, {RESAMPLES:,} draws; where it parts the two kinds"
    " wholly there is none, since no draw could differ.",
    "Targets are of the victims caught: the verdict flags a target class, and no class that is none.",
    "Queries are those paid for; p90 is the smallest amount that nine of ten scans kept to. A white box pays in images"
    " through the model, forward and backward.",
    "McNemar's test is exact, two-sided, over the victims that both methods were tried on, and is not corrected for the"
    " number of pairs.",
)
"""How to read the figures."""


def cost_words(value: Cost) -> tuple[str, ...]:
    """Backdoored, clean, all, and the sum."""
    return (*map(spread_words, (value.backdoored, value.clean, value.all)), amount(value.all.total))


def rates_words(value: Rates) -> str:
    """Caught of the backdoored and accused of the clean, `14/15, 0/5`; one of them where the other has no victims."""
    told = [counted(part) for part in (value.caught, value.accused) if part.trials]
    return ", ".join(told) or NONE


def pair_words(value: Pair) -> str:
    """The discordant victims, `26:3`, and below them the p value."""
    return f"{value.only_first}:{value.only_second}\n{p_words(value)}"


def p_words(value: Pair) -> str:
    """`0.125`, or `8e-07` below a thousandth."""
    return f"{value.p:.3f}" if value.p >= 0.001 else f"{value.p:.0e}"


def victims_words(value: Victims) -> str:
    """Who the victims are, in one sentence."""
    several = 1 < len(value.attacks) < len(value.strata)  # else the strata are the attacks, or all are of one
    kinds = [_counts(value.strata)] + ([_counts(value.attacks)] if several else [])
    backdoored = f"{value.backdoored} backdoored" + (f" ({'; '.join(kinds)})" if value.backdoored else "")
    low, high = value.clean_accuracy
    parts = [f"{value.clean} clean", _counts(value.architectures), f"clean accuracy {_percents(low, high)}"]
    if value.implant_success is not None:
        parts.append(f"implants succeed in {_percents(*value.implant_success)}")
    many = f"{value.count} {'victim' if value.count == 1 else 'victims'}"
    return f"{many}: {backdoored}, {'; '.join(parts)}."


def _counts(pairs: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{count} {name}" for name, count in pairs)


def _percents(low: float, high: float) -> str:
    return f"{100 * low:.0f} %" if round(100 * low) == round(100 * high) else f"{100 * low:.0f} to {100 * high:.0f} %"


def tries_words(value: Configurations) -> str:
    """How many configurations there are, in one sentence."""
    kinds = ", ".join(f"{name} {count}" for name, count in value.detectors)
    ledgers = f"{value.ledgers} {'ledger' if value.ledgers == 1 else 'ledgers'}"
    read = f"these lines and {ledgers}" if value.ledgers else "these lines"
    one = value.configurations == 1
    return (
        f"{value.configurations} {'configuration was' if one else 'configurations were'} tried on this zoo by {read}:"
        f" {kinds}."
    )
