"""The page as text: well formed, self-contained, and safe from what users name things."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from db.ledger import Ledger
from db.records import RunInfo
from oracles.meter import CallRecord, unknown_rows
from simkit.attacks.attack import Attack
from simkit.attacks.sinusoidal import Sinusoidal
from simkit.attacks.warping import Warping
from simkit.transforms.contract import Transform
from simkit.transforms.warp import Warp
from studies.render.pages import breakable
from studies.report.gather import gather
from studies.report.page import render
from tests.studies.pages import Elements
from tests.studies.report.ledgers import Kept, bent, wavy, write, zoo

EVERY = [Kept(), *(Kept(verdict=verdict) for verdict in ("clean", "undecided", "invalid", None))]


def page_of(tmp_path: Path, *kept: Kept) -> str:
    tmp_path.mkdir(exist_ok=True)
    return render(gather(write(tmp_path / "a.db", *kept), zoos=[zoo(tmp_path / "zoo")]))


def test_every_kind_of_run_makes_a_well_formed_page(tmp_path: Path) -> None:
    elements = Elements(page_of(tmp_path, *EVERY))
    assert elements.open == []
    ids = [a["id"] or "" for _, a in elements.found if "id" in a]
    assert sorted(ids) == sorted({*ids})
    assert {f"run-{i}" for i in range(1, 6)} <= set(ids)


def test_nothing_is_loaded_from_anywhere(tmp_path: Path) -> None:
    page = page_of(tmp_path, *EVERY)
    elements = Elements(page)
    assert "default-src 'none'" in page
    assert not {"script", "iframe", "object"} & {tag for tag, _ in elements.found}
    links = [a[name] or "" for _, a in elements.found for name in ("src", "href") if name in a]
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "url(" not in page
    assert "http:" not in page.replace("http://www.w3.org", "")


def test_names_and_notes_are_no_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&"
    page = page_of(tmp_path, Kept(model=evil, verdict="invalid", notes=evil), Kept(model=evil))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;bird&gt;" in page  # the zoo's name of a class
    assert Elements(page).open == []


def test_every_picture_says_what_it_shows(tmp_path: Path) -> None:
    pictures = [a["alt"] for tag, a in Elements(page_of(tmp_path, Kept())).found if tag == "img"]
    assert len(pictures) == 2 * 4 + 2  # four classes, and of the target the original and the overlap
    assert all(pictures)
    assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize(
    ("attack", "found", "views", "words"),
    [
        (Sinusoidal(2, frequency=2.0), wavy(), 3, "A wave of 24 of 255, 2.0 cycles"),
        (Warping(2), bent(), 4, bent().words.capitalize()),
    ],
)
def test_a_trigger_of_any_family_stands_beside_its_original(
    tmp_path: Path, attack: Attack, found: Transform, views: int, words: str
) -> None:
    data = gather(write(tmp_path / "a.db", Kept(trigger=found)), zoos=[zoo(tmp_path / "zoo", attack=attack)])
    page = render(data)
    pictures = [a["alt"] or "" for tag, a in Elements(page).found if tag == "img" and "class 2" in (a["alt"] or "")]
    for who in ("original", "reversed"):
        assert sum(f"The {who} trigger of class 2" in alt for alt in pictures) == views
    text = " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL).split())
    assert f"{words}, the original a " in text
    assert f"{found.family}, " in text
    assert "patch, 20 pixels" in text  # another class of the same run
    assert "IoU" not in text


def test_a_huge_image_that_a_few_bytes_name_is_not_drawn(tmp_path: Path) -> None:
    huge = Warp((1, 4096, 4096), bent().shifts)
    page = render(
        gather(write(tmp_path / "a.db", Kept(trigger=cast(Transform, Small(huge)))), zoos=[zoo(tmp_path / "zoo")])
    )
    assert "warp, 1.2 pixels of shift" in page
    assert "trigger of class 2" not in page


@dataclass(frozen=True)
class Small:
    """A warp that is not measured, which would take its whole field."""

    warp: Warp
    family = "warp"
    unit = "pixels of shift"
    strength = 1.2
    mask_size = 64.0
    as_patch = None

    def to_json(self) -> dict[str, Any]:
        return self.warp.to_json()


def test_the_figures_are_told(tmp_path: Path) -> None:
    page = page_of(tmp_path, Kept())
    text = " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL).split())
    for told in ("IoU 0.33", "8 of 8", "of a budget of 1,000", "flags masks under 5.50 pixels", "simkit scan", "72"):
        assert told in text
    assert "2 &lt;bird&gt; flagged, true target" in text


def test_a_rule_without_a_score_is_told_in_words(tmp_path: Path) -> None:
    data = gather(write(tmp_path / "a.db", Kept(), Kept()))
    patch = [replace(run, score_threshold=None, limit=40.0) for run in data.runs]
    page = render(replace(data, runs=tuple(patch)))
    assert "<dt>Score</dt>" not in page
    assert page.count("<dt>Rule</dt><dd>below_median</dd>") == 2
    assert page.count('<td colspan="2">flags masks under 40 pixels</td>') == 2


def test_a_run_without_queries_claims_none(tmp_path: Path) -> None:
    data = gather(write(tmp_path / "a.db", Kept()))
    silent = render(replace(data, runs=tuple(replace(run, spent=0, purposes=()) for run in data.runs)))
    asked = render(data)
    for told in ("on 4 images queried", "Charged</th>"):
        assert (told in asked, told in silent) == (True, False)
    assert "No query was sent." in silent


def test_a_name_breaks_at_its_dots_and_is_no_markup() -> None:
    assert breakable("a.few_words") == "a.<wbr>few_<wbr>words"
    assert breakable("<b>._") == "&lt;b&gt;.<wbr>_"


def test_a_cost_is_shown_with_its_currency_or_not_at_all(tmp_path: Path) -> None:
    prices: tuple[dict[str, object], ...] = (
        {},
        {"price_per_thousand": 4.0},
        {"price_per_thousand": 4.0, "currency": "USD"},
    )
    data = gather(write(tmp_path / "a.db", *(Kept(settings={"oracle": price}) for price in prices)))
    pages = []
    for run in data.runs:
        assert run.verdict is not None
        spent = replace(run, verdict=replace(run.verdict, cost=12.4))
        pages.append(render(replace(data, runs=(spent,))))
    assert ["<dt>Cost</dt>" in page for page in pages] == [False, False, True]
    assert '<dd>12.40 USD</dd><dd class="quiet">at 4.00 USD per 1,000 queries</dd>' in pages[2]


def test_the_limit_is_drawn_on_every_bar_wherever_it_lies(tmp_path: Path) -> None:
    data = gather(write(tmp_path / "a.db", Kept()))
    for limit in (5.5, 28.0, 40.0):
        page = render(replace(data, runs=(replace(data.runs[0], limit=limit),)))
        drawn = [a for tag, a in Elements(page).found if tag == "line" and a["class"] == "limit"]
        assert len(drawn) == len(data.runs[0].classes)
        assert all(0 < float((a["x1"] or "").rstrip("%")) < 100 for a in drawn)


def test_many_runs_are_folded_and_an_open_one_says_so(tmp_path: Path) -> None:
    assert page_of(tmp_path, *[Kept()] * 5).count('<details class="run">') == 5
    assert "No verdict yet" in page_of(tmp_path / "open", Kept(verdict=None))


def test_a_run_shows_its_verdict_once_in_the_list_and_once_at_its_own_place(tmp_path: Path) -> None:
    for runs in (EVERY, EVERY[-2:]):  # folded, and not
        page = page_of(tmp_path / str(len(runs)), *runs)
        assert page.count('<span class="badge open">open</span>') == 2


def test_the_last_line_names_the_ledger_the_runs_and_the_zoo_that_were_given(tmp_path: Path) -> None:
    path, folder = write(tmp_path / "a ledger.db", Kept(), Kept()), zoo(tmp_path / "zoo")
    assert gather(path, [2], [folder]).command == f"simkit report '{path}' --run 2 --zoo {folder}"
    assert f"<code>simkit report &#39;{path}&#39;</code>" in render(gather(path))


def test_equal_ledgers_give_equal_pages(tmp_path: Path) -> None:
    data = gather(write(tmp_path / "a.db", *EVERY))
    assert render(data) == render(data) == render(gather(tmp_path / "a.db"))


def test_alarms_of_detectors_are_told_with_their_first_query(tmp_path: Path) -> None:
    quiet, loud = page_of(tmp_path, Kept()), page_of(tmp_path / "b", Kept(alarms=(21, 17, 30)))
    assert "Detector of probing" not in quiet
    assert '<th scope="row">piha</th><td class="n">3</td><td class="n">17</td>' in loud


@pytest.mark.parametrize("count", [1, 2, 6])  # a page of one run, one with a table, and one whose runs are folded
def test_the_runs_of_a_service_name_their_keys_and_are_no_scans(tmp_path: Path, count: int) -> None:
    path, ids = tmp_path / "provider.db", [f"lab2345{digit}" for digit in range(count)]
    with Ledger.open(path) as ledger:
        for number, key in enumerate(ids):
            config = json.dumps({"service": {"key": key, "model": "m"}, "oracle": {}})
            run = ledger.begin(RunInfo(str(number) * 64, "m", "a" * 64, "service", "", "{}", config, 0, None, "{}"))
            run.record(CallRecord(None, unknown_rows(3), np.zeros(3, np.int32), None, "labels/10", bytes(6)))
    page = render(gather(path))
    assert Elements(page).open == []
    text = " ".join(unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)).split())
    assert f"{count} of the keys of a service" in text
    for key in ids:
        assert f"3 queries were charged to the key {key}." in text
    for told in ("No verdict yet", "no limit", "unknown", "is no scan", "not yet", "not finished", "Clean accuracy"):
        assert told not in text
    assert text.count("a key's run") == count * (2 if count > 1 else 1)
