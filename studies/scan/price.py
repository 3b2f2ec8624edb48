"""A price with its currency. A price that states no currency is stored as it was given, and shown nowhere as money."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oracles.spec import CURRENCY
from simkit.errors import ConfigError


@dataclass(frozen=True)
class Price:
    """The price of 1,000 queries. per_thousand: finite, at least 0. currency: short text, such as `USD`.

    Raises ConfigError.
    """

    per_thousand: float
    currency: str

    def __post_init__(self) -> None:
        if not 0 <= self.per_thousand < math.inf:
            raise ConfigError(f"a price of {self.per_thousand} per thousand queries; give 0 or more")
        if not re.fullmatch(CURRENCY, self.currency):
            raise ConfigError(f"{self.currency!r} is no currency; give a short text such as USD")

    def of(self, queries: float) -> float:
        """What so many queries cost, in the currency."""
        return self.per_thousand * queries / 1000

    @classmethod
    def parse(cls, text: str) -> Price:
        """The price in a text such as `2.5EUR` or `2.5 EUR`. Raises ConfigError."""
        found = re.fullmatch(r"([+-]?\d+(?:\.\d+)?) ?(\D+)", text)
        if found is None:
            raise ConfigError(f"--price {text!r} is no price; give a number and a currency, such as 2.5EUR")
        return cls(float(found[1]), found[2])

    @classmethod
    def stated(cls, service: Mapping[str, Any]) -> Price | None:
        """The price in the plain values of an `OracleSpec`; None without a price, and without its currency."""
        amount, currency = service.get("price_per_thousand"), service.get("currency")
        if not isinstance(amount, int | float) or not isinstance(currency, str):
            return None
        try:
            return cls(float(amount), currency)
        except ConfigError:  # the ledger of a stranger
            return None
