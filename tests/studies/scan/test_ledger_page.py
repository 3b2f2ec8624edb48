"""What the page on ledgers says of the columns and of classes, asked of ledgers."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from tests.studies.scans import TemplateNet, scanned

PAGE = (Path(__file__).parents[3] / "docs" / "ledger.md").read_text()


def test_the_columns_of_the_view_of_queries_are_those_of_the_page(tmp_path: Path) -> None:
    scanned(TemplateNet(), budget=100, name="net", db=tmp_path / "scan.db")
    with sqlite3.connect(tmp_path / "scan.db") as ledger:
        columns = [column[0] for column in ledger.execute("SELECT * FROM queries").description]
    (told,) = re.findall(r"the view `queries` has one row per query, with (.*?)\.\n", PAGE, re.S)
    named = re.split(r",\s+|\s+and\s+", re.sub(r"\s*\(.*?\)", "", told))
    assert sorted(named) == sorted(columns)


def test_queries_are_counted_by_class_where_the_page_says_so(tmp_path: Path) -> None:
    (counted,) = re.findall(r"```sql\n(SELECT c.run_id AS run, json_extract\(s.state, '\$.class'\).*?)```", PAGE, re.S)
    b3d = {"preset": "b3d-slides", "search": {"steps": 2, "samples": 4}}
    for name, settings in (("patches", {}), ("b3d", b3d)):
        scanned(TemplateNet(), budget=3_000, name="net", db=tmp_path / f"{name}.db", **settings)
        with sqlite3.connect(tmp_path / f"{name}.db") as ledger:
            rows = ledger.execute(counted).fetchall()
            (searched,) = ledger.execute("SELECT sum(queries) FROM spend WHERE purpose = 'search'").fetchone()
        assert sum(queries for _, _, queries in rows) == searched > 0
        classes = [target for _, target, _ in rows]
        assert classes == ([None] if name == "patches" else [0, 1, 2, 3])
