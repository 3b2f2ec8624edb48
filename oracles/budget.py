"""Query budgets. A call reserves all its queries, in a budget and all its parents, before the model runs."""

from __future__ import annotations

import contextlib
import operator
import threading
from typing import SupportsIndex

from oracles.errors import BudgetExhausted


class Budget:
    """A cap on queries, possibly inside a larger one (study > scan). Safe to share among threads.

    cap: number of queries, 0 or more; None is unlimited. spent: queries that were spent before, according to the
    ledger. Raises TypeError for anything but whole numbers, and ValueError if one is negative or `spent` exceeds `cap`.
    """

    def __init__(self, cap: int | None, parent: Budget | None = None, *, spent: int = 0, name: str = "scan") -> None:
        cap, spent = None if cap is None else whole_number(cap, "a budget"), whole_number(spent, "what is spent")
        if cap is not None and cap < 0:
            raise ValueError(f"a budget of {cap} queries; give 0 or more, or None for no limit")
        if spent < 0 or (cap is not None and spent > cap):
            raise ValueError(f"{spent} queries are already spent of a {name} budget of {cap}")
        self._cap, self._parent, self._spent, self._name = cap, parent, spent, name
        self._lock = threading.Lock()

    @property
    def cap(self) -> int | None:
        return self._cap

    @property
    def spent(self) -> int:
        return self._spent

    @property
    def remaining(self) -> int | None:
        """Queries left both here and in every parent; None if nothing limits them."""
        own = None if self._cap is None else max(0, self._cap - self._spent)
        above = None if self._parent is None else self._parent.remaining
        return min((n for n in (own, above) if n is not None), default=None)

    def reserve(self, queries: int) -> None:
        """Take `queries` here and in every parent, or raise BudgetExhausted and take none.

        Repeated images are charged like any others.
        """
        queries = whole_number(queries, "a number of queries")
        if queries < 1:
            raise ValueError(f"cannot reserve {queries} queries; ask for 1 or more")
        with self._lock:  # a child's lock is always taken before its parent's, so there is no deadlock
            if self._cap is not None and self._spent + queries > self._cap:
                raise BudgetExhausted(self._name, queries, max(0, self._cap - self._spent))
            if self._parent is not None:
                self._parent.reserve(queries)
            self._spent += queries

    def change_cap(self, cap: int | None) -> None:
        """Set the cap anew, also below what is spent: then nothing is left. Raises as the constructor does."""
        cap = None if cap is None else whole_number(cap, "a budget")
        if cap is not None and cap < 0:
            raise ValueError(f"a budget of {cap} queries; give 0 or more, or None for no limit")
        with self._lock:
            self._cap = cap

    def change_spent(self, spent: int) -> None:
        """Set what is spent anew, as a book says that others charge too; no reservation may be out. Raises as the
        constructor does for what is negative."""
        spent = whole_number(spent, "what is spent")
        if spent < 0:
            raise ValueError(f"{spent} queries are spent; give 0 or more")
        with self._lock:
            self._spent = spent

    def release(self, queries: int) -> None:
        """Give back a reservation that was never answered, here and in every parent."""
        queries = whole_number(queries, "a number of queries")
        with self._lock:
            if not 0 < queries <= self._spent:
                raise ValueError(f"cannot release {queries} of {self._spent} queries")
            self._spent -= queries
            if self._parent is not None:
                self._parent.release(queries)


def whole_number(value: SupportsIndex, what: str) -> int:
    """`value` as an int of any size. Raises TypeError for a flag, text, a fraction or NaN, which count wrongly."""
    if not isinstance(value, bool) and hasattr(value, "__index__"):
        with contextlib.suppress(TypeError):  # an array of several numbers
            return operator.index(value)  # also of numpy's integers, which would wrap around
    raise TypeError(f"{what} must be a whole number, not {value!r}")
