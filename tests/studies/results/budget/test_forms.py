"""A study of budgets as text, CSV, JSON and a page."""

from __future__ import annotations

import csv
import json
import re
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from studies.results.budget.export import pairs_csv, to_csv, to_json
from studies.results.budget.gather import BudgetConfig, gather_budget
from studies.results.budget.records import BudgetStudy
from studies.results.budget.views import page, text
from studies.results.budget.wording import service_words
from studies.scan.price import Price
from studies.statistics import share
from tests.studies.pages import Elements, opened
from tests.studies.results.table.made import ORACLE, config, line, lines, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser

EVIL = "<script>alert(1)</script>\"'&"


def study(folder: Path, **wanted: Any) -> BudgetStudy:
    ran_out = [line(i, "undecided", detector="sa", stopped="budget", queries=990, config=config(1000)) for i in (0, 1)]
    white = lines("cb", detector="nc", forward_passes=9, backward_passes=3, queries=0)
    told = [*lines("cbbc"), *ran_out, *white, *lines("cb", zoo="large", detector=EVIL)]
    told = [one.model_copy(update={"index": i}) if one.zoo == "large" else one for i, one in enumerate(told)]
    return gather_budget([write(folder / "a.jsonl", told)], BudgetConfig(**wanted))


def test_text_tells_every_figure(tmp_path: Path) -> None:
    said = text(study(tmp_path, budgets=(500, 1000, 2000, 4000)), 100)
    rows = [re.split(r"\s{2,}", row.strip()) for row in said.splitlines()]
    assert ["probe", "0", "25", "50", "50"] in rows
    assert rows[rows.index(["probe", "0", "25", "50", "50"]) + 1] == ["(0-49)", "(5-70)", "(15-85)", "(15-85)"]
    assert ["sa", "0", "0", "-", "-"] in rows
    (row,) = (row for row in rows if row[:2] == ["2,000", "2/4 50% (15-85)"])
    assert (row[2:5], row[5][:4]) == (["1/2 (9-91)", "0/2 (0-66)", "2/4"], "0.75")
    flat = " ".join(said.split())
    assert "counts as wrong, but not as a false positive" in flat
    assert "sa ends at 1,000 queries, since the verdicts on 2 victims at larger budgets are unknown." in flat
    assert "white-box detectors send no queries: nc." in flat
    assert "(--undecided-as clean)" in text(study(tmp_path, undecided_as="clean"), 100)


def test_an_older_scan_in_stages_says_that_its_clean_may_be_early(tmp_path: Path) -> None:
    staged = config() | {"stages": [{"search": {}}]}
    given = write(tmp_path / "a.jsonl", lines("cb", config=staged))
    flat = " ".join(text(gather_budget([given]), 100).split())
    ends = "probe ends at 300,000 queries, since the verdicts on 1 victim at larger budgets are unknown."
    assert f"{ends} probe scans in several stages, and in 1 of their older lines clean may be" in flat
    told = write(tmp_path / "b.jsonl", lines("cb", config=staged, rule_limit=0.25))
    assert "several stages" not in text(gather_budget([told]), 100)


def test_services_stand_beside_each_other(tmp_path: Path) -> None:
    behind = {"top_k": 5, "label_only": False}, {"label_only": True, "top_k": None}, ORACLE
    told = [one for oracle in behind for one in lines("cbbc", config=config() | {"oracle": oracle})]
    (panel,) = (found := gather_budget([write(tmp_path / "a.jsonl", told)], BudgetConfig(by_service=True))).panels
    assert (panel.services, {curve.name for curve in panel.curves}) == (("scores", "top5", "label"), {"probe"})
    said = text(found, 100).splitlines()
    first = said.index("probe: detection accuracy in %, by service")
    names = [row.split("  ")[0].strip() for row in said[first + 3 : first + 9]]
    assert list(filter(None, names)) == ["scores", "top-5", "label-only"]


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("quantized, top_k 1", "uint8 images, top-1"),
        ("top12", "top-12"),
        ("decimals 2", "rounded to 2 decimals"),
        ("quantized, score_noise 0.05", "uint8 images, score noise 0.05"),
        ("quantized, label_only", "uint8 images, label-only"),
    ],
)
def test_a_service_has_a_title(service: str, said: str) -> None:
    assert service_words(service) == said


def test_money_is_told_where_there_is_a_price(tmp_path: Path) -> None:
    given = write(tmp_path / "a.jsonl", lines("cbbc"))
    found = gather_budget([given], BudgetConfig(price=Price(2.0, "EUR"), budgets=(500, 2500)))
    rows = [re.split(r"\s{2,}", row.strip()) for row in text(found, 100).splitlines()]
    after = rows.index(["Mean cost per victim in EUR, by budget"])
    assert rows[after + 3 : after + 6] == [
        ["probe", "1.00", "4.00"],
        ["at most", "1.00", "5.00"],
        ["The price is 2.00 EUR per thousand queries."],
    ]
    first, second = csv.DictReader(StringIO(to_csv(found)))
    assert (first["cost_mean"], second["cost_mean"], second["cost_most"]) == ("1.0", "4.0", "5.0")
    assert (second["spent"], second["currency"]) == ("2000.0", "EUR")


def test_each_cost_names_its_currency_where_there_are_several(tmp_path: Path) -> None:
    def priced(currency: str | None) -> dict[str, object]:
        oracle = {"label_only": currency == "EUR", "price_per_thousand": 2.0}
        return config() | {"oracle": oracle | ({"currency": currency} if currency else {})}

    apart = [*lines("cb", config=priced("USD")), *lines("cb", config=priced("EUR"), detector="nc")]
    told = text(gather_budget([write(tmp_path / "a.jsonl", apart)], BudgetConfig(budgets=(500,))), 100)
    assert ("1.00 USD" in told, "1.00 EUR" in told, "at most" in told) == (True, True, False)
    bare = write(tmp_path / "b.jsonl", lines("cb", config=priced(None)))
    found = gather_budget([bare], BudgetConfig(budgets=(500,)))
    assert "Mean cost" not in text(found, 100)
    assert [row["cost_mean"] for row in csv.DictReader(StringIO(to_csv(found)))] == [""]


def test_pairs_have_a_row_a_budget(tmp_path: Path) -> None:
    given = write(tmp_path / "a.jsonl", [*lines("cbcb" * 5), *lines("cccc" * 5, detector="nc")])
    found = gather_budget([given], BudgetConfig(budgets=(1, 30_000)))
    rows = list(csv.DictReader(StringIO(pairs_csv(found))))
    assert [(r["first"], r["second"], r["budget"], r["only_first"], r["only_second"]) for r in rows] == [
        ("probe", "nc", "1", "0", "0"),
        ("probe", "nc", "30000", "10", "0"),
    ]
    flat = " ".join(text(found, 100).split())
    assert "probe / nc 20 = 10:0*" in flat


@pytest.mark.parametrize("width", [80, 100])
def test_no_width_is_exceeded(tmp_path: Path, width: int) -> None:
    said = text(study(tmp_path), width)
    assert max(map(len, said.splitlines())) <= width


def test_csv_has_a_row_a_curve_and_budget(tmp_path: Path) -> None:
    rows = list(csv.DictReader(StringIO(to_csv(study(tmp_path, budgets=(1000, 2000))))))
    assert [(r["zoo"], r["curve"], r["budget"]) for r in rows][:3] == [
        ("small", "probe", "1000"),
        ("small", "probe", "2000"),
        ("small", "sa", "1000"),
    ]
    known = share(1, 2)
    told = {name: rows[1][name] for name in ("victims", "tpr", "tpr_hits", "tpr_low", "tpr_high", "undecided")}
    assert told == {"victims": "4", "tpr": "0.5", "tpr_hits": "1", "undecided": "0.5"} | {
        "tpr_low": str(known.low),
        "tpr_high": str(known.high),
    }


def test_json_has_everything(tmp_path: Path) -> None:
    told = json.loads(json.dumps(to_json(study(tmp_path, budgets=(2000,))), allow_nan=False))
    (point,) = told["panels"][0]["curves"][0]["points"]
    assert (point["budget"], point["backdoored"], point["tpr"]["hits"]) == (2000, 2, 1)
    assert told["undecided_as"] == "wrong"


def test_the_page_is_whole_and_names_are_no_markup(tmp_path: Path) -> None:
    said = page(study(tmp_path))
    elements = Elements(said)
    assert elements.open == []
    assert "<script" not in said
    assert "&lt;script&gt;" in said
    (image,) = (attributes for tag, attributes in elements.found if tag == "img")
    assert str(image["src"]).startswith("data:image/svg+xml;base64,")
    assert "http" not in said.replace("http-equiv", "")
    assert said == page(study(tmp_path))


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_asks_for_nothing(browser: Browser, tmp_path: Path, width: int) -> None:
    file = tmp_path / "page.html"
    file.write_text(page(study(tmp_path)), encoding="utf-8")
    shown, said, asked = opened(browser, file.as_uri(), width)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate("document.querySelector('.curves img').naturalWidth") > 600
    assert (said, asked) == ([], [])
    shown.close()
