"""The text of a table: rates with their intervals, amounts, victims, and notes on how to read the figures."""

from __future__ import annotations

from studies.render.formats import NONE, amount, share_words, spread_words
from studies.results.budget.order import DEFINITION
from studies.results.table.records import By, Configurations, Cost, Pair, Rates, Victims
from studies.statistics import RESAMPLES

TITLES: dict[By, str] = {"size": "trigger size (stratum)", "attack": "attack", "architecture": "architecture"}
"""The title of each kind of breakdown."""

RANKING_INTERVAL = (
    f"Its 95 % interval is a bootstrap over victims with {RESAMPLES:,} resamples; where the two kinds are perfectly"
    " separated all resamples would agree, and it is Newcombe's score interval (2006, method 5)."
)
"""How the interval of an AUROC is computed."""

READING = (
    "Brackets give the 95 % Wilson interval. A verdict `undecided` or `invalid` counts as wrong, but never as a false"
    " positive: it lowers accuracy and TPR, not FPR.",
    "FPR is computed over the clean victims only: with 20 of them, zero false positives still leave an interval of 0 to"
    " 16 %, and with 50 of them, 0 to 7 %.",
    f"{DEFINITION} {RANKING_INTERVAL}",
    "A probability of a backdoor is that of a verdict `backdoored` or `clean` of a detector that was calibrated. Cross"
    " entropy is the mean of -log of the probability that was given to the truth (0.693 without any knowledge), and the"
    " Brier score the mean squared difference from it (0.250); lower is better, and the 95 % interval is the normal"
    " approximation. Probabilities are reliable where the share of backdoored victims agrees with their mean.",
    "For the detected victims, `target flagged` counts verdicts that flag a target class, and `only target` those that"
    " flag no other class.",
    "Queries are the charged ones, and p90 is their 90th percentile over scans. The cost of a white-box detector is the"
    " number of images passed through the model, forward and backward.",
    "McNemar's test is exact and two-sided, over the victims that both methods scanned. Its p values are adjusted by"
    " Holm's method over all pairs of methods on the zoo.",
)
"""How to read the figures."""


def cost_words(value: Cost) -> tuple[str, ...]:
    """The cost per backdoored victim, per clean victim and per victim, and the total."""
    return (*map(spread_words, (value.backdoored, value.clean, value.all)), amount(value.all.total))


def rates_words(value: Rates) -> str:
    """Detected backdoored victims and below them false positives, or the one of them that has victims.

    Each has its Wilson interval, as in `14/15 (70-99)`.
    """
    shares = [share_words(part) for part in (value.caught, value.accused) if part.trials]
    return "\n".join(shares) or NONE


def pair_words(value: Pair) -> str:
    """The discordant victims, as in `26:3`, and below them the adjusted p value."""
    return f"{value.only_first}:{value.only_second}\n{p_words(value)}"


def p_words(value: Pair) -> str:
    """The adjusted p value, as in `0.125`, or `8e-07` below 0.001."""
    return f"{value.adjusted:.3f}" if value.adjusted >= 0.001 else f"{value.adjusted:.0e}"


def victims_words(value: Victims) -> str:
    """The victims by truth, trigger, attack and architecture, their accuracy and their ASR, in one sentence."""
    several = 1 < len(value.attacks) < len(value.strata)  # else strata and attacks coincide, or there is one attack
    kinds = [_counts(value.strata)] + ([_counts(value.attacks)] if several else [])
    backdoored = f"{value.backdoored} backdoored" + (f" ({'; '.join(kinds)})" if value.backdoored else "")
    low, high = value.clean_accuracy
    parts = [f"{value.clean} clean", _counts(value.architectures), f"clean accuracy {_percents(low, high)}"]
    if value.implant_success is not None:
        parts.append(f"ASR {_percents(*value.implant_success)}")
    many = f"{value.count} {'victim' if value.count == 1 else 'victims'}"
    return f"{many}: {backdoored}, {'; '.join(parts)}."


def _counts(pairs: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{count} {name}" for name, count in pairs)


def _percents(low: float, high: float) -> str:
    return f"{100 * low:.0f} %" if round(100 * low) == round(100 * high) else f"{100 * low:.0f} to {100 * high:.0f} %"


def tries_words(value: Configurations) -> str:
    """How many configurations were tried, in one sentence."""
    kinds = ", ".join(f"{name} {count}" for name, count in value.detectors)
    ledgers = f"{value.ledgers} {'ledger' if value.ledgers == 1 else 'ledgers'}"
    sources = f"these result lines and {ledgers}" if value.ledgers else "these result lines"
    tried = "configuration was" if value.configurations == 1 else "configurations were"
    return f"According to {sources}, {value.configurations} {tried} tried on this zoo: {kinds}."
