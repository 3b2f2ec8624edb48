"""A price and its currency, from the command line, from a spec, and from a stranger's ledger."""

from __future__ import annotations

from typing import Any

import pytest

from simkit.errors import ConfigError
from studies.render.formats import money_words
from studies.scan.price import Price


@pytest.mark.parametrize(
    ("text", "amount", "currency"), [("2.5EUR", 2.5, "EUR"), ("2 $", 2.0, "$"), ("0USD", 0, "USD")]
)
def test_a_price_is_a_number_and_a_currency(text: str, amount: float, currency: str) -> None:
    assert Price.parse(text) == Price(amount, currency)


@pytest.mark.parametrize(
    "text", ["", "free", "2.5", "EUR2", "2.5 US dollars", "-1EUR", "1e3EUR", "nanEUR", "2.5\x1b[0m"]
)
def test_another_text_is_no_price(text: str) -> None:
    with pytest.raises(ConfigError):
        Price.parse(text)


@pytest.mark.parametrize(
    "service",
    [
        {},
        {"price_per_thousand": 1.5},
        {"price_per_thousand": 1.5, "currency": None},
        {"price_per_thousand": 1.5, "currency": "\x1b[31m"},
        {"price_per_thousand": "1.5", "currency": "USD"},
        {"price_per_thousand": -1.5, "currency": "USD"},
        {"currency": "USD"},
    ],
)
def test_what_is_no_whole_price_is_none(service: dict[str, Any]) -> None:
    assert Price.stated(service) is None


def test_a_cost_is_the_price_times_thousands_of_queries() -> None:
    price = Price.stated({"price_per_thousand": 1.5, "currency": "USD"})
    assert price is not None
    assert money_words(price.of(8267), price.currency) == "12.40 USD"


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0 USD"), (0.0042, "0.0042 USD"), (0.5, "0.50 USD"), (12.4, "12.40 USD"), (1340.2, "1,340 USD")],
)
def test_an_amount_is_told_with_its_currency(value: float, words: str) -> None:
    assert money_words(value, "USD") == words
