"""All errors that this package raises on purpose. Each message says what to change."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

REASONS = {
    "near_duplicate": "too many of its images are near-duplicates of earlier ones",
    "banned": "an earlier call raised an alarm of its detector of probing",
}
"""The sentence in a message for each reason of a refusal."""


class OracleError(Exception):
    """Base of the errors raised between a batch of images and an answer."""


class Refused(OracleError):
    """A call that was refused before the model ran; nothing was spent. `reason` is the name stored in a ledger."""

    def __init__(self, queries: int, reason: str, message: str = "") -> None:
        super().__init__(message or f"the service refused a call of {queries} queries: {REASONS.get(reason, reason)}")
        self.queries, self.reason = queries, reason


class RateExceeded(Refused):
    """The rate limit is reached; the same call may be repeated after `retry_after` seconds."""

    def __init__(self, queries: int, retry_after: float) -> None:
        super().__init__(queries, "rate", f"too many queries for now; ask again in {retry_after:g} s")
        self.retry_after = retry_after


class BudgetExhausted(Refused):
    """The budget is too small for a call; nothing was spent.

    `wanted` and `remaining` are numbers of queries, `name` is the budget that refused.
    """

    def __init__(self, name: str, wanted: int, remaining: int) -> None:
        super().__init__(wanted, "budget", f"the {name} budget has {remaining} queries left, {wanted} were asked for")
        self.name, self.wanted, self.remaining = name, wanted, remaining


class InvalidImages(OracleError, ValueError):
    """Images of a wrong shape, type or range, or with values that are not finite."""


class InvalidSpec(OracleError, ValueError):
    """An oracle specification, or a part of one, that cannot be built."""


class ModelError(OracleError):
    """A model file that cannot be read safely, or a model whose answer has a wrong form."""


class Unanswered(ModelError):
    """A service over a network that gave no answer for now; the same call may be sent again later."""


class ServiceBudgetSpent(Unanswered):
    """The budget of the API key at a service is spent; the same call may be sent again once it is topped up."""


class ReplayMismatch(OracleError):
    """The stored answers belong to other queries than the ones now sent."""


class NotStored(ReplayMismatch):
    """A query whose answer is not in the ledger."""


def one_line(error: BaseException) -> str:
    """An error from foreign code as its type and one line of its message: the first, or the last of a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    traced = any(line.startswith("Traceback") for line in lines)
    line = (lines[-1] if traced else lines[0])[:300]
    return line if line.startswith(f"{type(error).__name__}: ") else f"{type(error).__name__}: {line}"


def likely(name: str, known: Iterable[str], otherwise: str = "choose from") -> str:
    """The end of a message about an unknown name: `; did you mean 'NAME'?` if one is close, otherwise all of them.

    otherwise: the words before the list of all names.
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; {otherwise} {', '.join(names)}"
