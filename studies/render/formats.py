"""Numbers, shares, amounts and times as text, for terminals, pages and figures alike."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studies.statistics import Average, Ranking, Share, Spread


def money_words(value: float, currency: str) -> str:
    """An amount of money with its currency, as in `0.0042 USD`, `12.40 USD`, `1,340 EUR`."""
    return f"{money_amount(value)} {currency}"


def money_amount(value: float) -> str:
    """An amount of money where the currency stands elsewhere, as in `0.0042`, `12.40`, `1,340`."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def short(queries: float) -> str:
    """A number of queries in short form, as in `300`, `1.5k`, `2M`."""
    return f"{queries / 1e6:g}M" if queries >= 1e6 else f"{queries / 1e3:g}k" if queries >= 1e3 else f"{queries:g}"


def number(value: float | None) -> str:
    """A number with separated thousands, and with one or two decimals where it is small; a dash for None."""
    if value is None:
        return "–"  # noqa: RUF001 (an en dash is meant)
    if not math.isfinite(value):
        return str(value)
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.1e}"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"  # noqa: RUF001


def interval(value: Share) -> str:
    """A share with its Wilson interval, as in `31 of 32 (84 to 99 %)`; `not tried` without trials."""
    if not value.trials:
        return "not tried"
    return f"{value.hits} of {value.trials} ({ends(value, ' to ')} %)"


def class_label(target: int, names: Sequence[str] = ()) -> str:
    """A class by its number and name, as in `3 cat`; by its number alone where the name is unknown or the same."""
    return labelled(target, names[target] if target < len(names) else "")


def labelled(target: int, name: str) -> str:
    """A class by its number and name, as in `3 cat`; by its number alone where `name` is empty or that number."""
    return str(target) if name in ("", str(target)) else f"{target} {name}"


def moment(at: float) -> str:
    """A time in seconds since 1970 as date and time in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def last_part(name: str) -> str:
    """The last part of a path; any other name unchanged."""
    return name.rstrip("/").rpartition("/")[2] or name


def pixel_words(size: float) -> str:
    """A mask size with its unit: `1 pixel`, `5.50 pixels`."""
    return f"{number(size)} {'pixel' if size == 1 else 'pixels'}"


def size_words(rule: str, limit: float) -> str:
    """The mask sizes that a rule of that name flags, as in `under 5.50 pixels`. limit: in pixels."""
    if limit <= 0.0:  # by the anomaly index, where the sizes of all classes differ widely
        return "of no size at all"
    return f"{'of at most' if rule == 'small_patch' else 'under'} {number(limit)} pixels"


_SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "all four unofficial implementations of B3D": "the value in four public implementations of B3D; its slides "
        "state none",
        "the default: 4x4 pixels, the largest patch of the prototype race": "the default: 4x4 pixels",
        "the default: 4x4 of 32x32 pixels, as the prototype race": "the default: 4x4 of 32x32 pixels",
        "of the race, under a stricter test": "the default for large patches, which must pass a stricter test",
    }
)
"""The sources of thresholds, as ledgers keep them, in words that need no knowledge of this project's history."""


def source_words(source: str) -> str:
    """The source of a threshold in plain words; one that is set for a run, or of the user's own, unchanged."""
    return _SOURCES.get(source, source)


NONE = "-"


def right_words(value: Share) -> str:
    """A share with percentage and interval, as in `58/60 96.7% (89-99)`."""
    if value.rate is None:
        return NONE
    percent = f"{100 * value.rate:.1f}".removesuffix(".0")
    return f"{value.hits}/{value.trials} {percent}% {bounds(value)}"


def share_words(value: Share) -> str:
    """A share with its interval, as in `44/45 (88-100)`."""
    return NONE if value.rate is None else f"{value.hits}/{value.trials} {bounds(value)}"


def counted(value: Share) -> str:
    """A share as a fraction, as in `44/45`."""
    return f"{value.hits}/{value.trials}" if value.trials else NONE


def bounds(value: Share) -> str:
    """The interval of a share in percent, as in `(88-100)`; empty without trials."""
    return f"({ends(value, '-')})" if value.trials else ""


def ends(value: Share, between: str) -> str:
    """The ends of a share's interval in percent, with more digits where none would show no width."""
    low, high = (0.0 if end is None else 100 * end for end in (value.low, value.high))
    digits = _telling(low, high, 0)
    return f"{low:.{digits}f}{between}{high:.{digits}f}"


_DIGITS = 9
"""Maximum number of decimals of an interval."""


def _telling(low: float, high: float, least: int) -> int:
    """The number of decimals, at least `least`, by which the ends of an interval differ when printed."""
    return next((d for d in range(least, _DIGITS) if f"{low:.{d}f}" != f"{high:.{d}f}"), _DIGITS)


def percent_words(value: Share) -> str:
    """A share in percent with its interval, as in `98 (91-100)`."""
    return NONE if value.rate is None else f"{100 * value.rate:.0f} {bounds(value)}"


def ranking_words(value: Ranking) -> str:
    """An AUROC with its interval, as in `0.97 (0.92-0.99)`, with more digits where two would show no width.

    Where no interval is known the numbers of backdoored and clean victims stand there, as in `0.50 (n = 6 + 6)`.
    """
    if value.auroc is None:
        return NONE
    if value.low is not None and value.high is not None:
        low, high = value.low, value.high
        digits = _telling(low, high, 2)
        return f"{value.auroc:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
    counts = "" if value.victims is None else f" (n = {value.victims[0]} + {value.victims[1]})"
    return f"{value.auroc:.2f}{counts}"


def average_words(value: Average | None) -> str:
    """A mean with its interval, as in `0.312 (0.210-0.414)`."""
    if value is None:
        return NONE
    interval = "" if value.low is None or value.high is None else f" ({value.low:.3f}-{value.high:.3f})"
    return f"{value.value:.3f}{interval}"


def amount(value: float | None) -> str:
    """An amount with three significant digits and a unit letter, as in `984`, `41.2k`, `1.25M`."""
    if value is None:
        return NONE
    for letter, unit in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * unit:
            return f"{value / unit:.{_decimals(value / unit)}f}{letter}"
    return f"{value:.{0 if value == int(value) else _decimals(value)}f}"


def _decimals(value: float) -> int:
    return 2 if value < 9.995 else 1 if value < 99.95 else 0


def spread_words(value: Spread) -> str:
    """Median and 90th percentile, as in `41.2k / 98.3k`."""
    return NONE if value.median is None else f"{amount(value.median)} / {amount(value.p90)}"


_LINE = 72
"""Number of characters of a line of settings, which a page does not wrap."""


def changed_words(changed: Sequence[tuple[str, str]]) -> str:
    """All settings in which a method differs, as in `search.steps=120, seed=1`, in short lines; empty for none."""
    return in_lines(", ".join(f"{name}={setting}" for name, setting in changed))


def in_lines(said: str) -> str:
    """Settings in words, in lines of a length that a page can show."""
    return textwrap.fill(said, _LINE, break_long_words=False, break_on_hyphens=False)


def left_out_words(split: str, left_out: Sequence[tuple[str, int]]) -> str:
    """The lines left out because they are of another split, in one sentence; empty for none."""
    if not left_out:
        return ""
    others = ", ".join(f"{count} of split {other}" for other, count in left_out)
    return f"Only the split {split} is shown. Lines left out: {others} (use --split to show them)."
