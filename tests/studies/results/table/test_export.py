"""The table for programs: numbers as they are."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

from studies.results.table.export import to_csv, to_json
from studies.results.table.gather import gather
from studies.results.table.records import Table
from studies.statistics import share
from tests.studies.results.table.made import lines, write


def table(folder: Path) -> Table:
    white = lines("cccc", detector="nc", forward_passes=9, backward_passes=3, queries=0)
    return gather([write(folder / "a.jsonl", [*lines("cbcb"), *white])])


def test_json_has_everything(tmp_path: Path) -> None:
    told = json.loads(json.dumps(to_json(table(tmp_path)), allow_nan=False))
    (zoo,) = told["zoos"]
    known = share(4, 4)
    right = {"hits": 4, "trials": 4, "rate": 1.0, "low": known.low, "high": known.high}
    assert zoo["cells"][0]["right"] == right
    assert zoo["cells"][0]["method"]["label"] == "probe"
    assert zoo["cells"][1]["forward"]["all"] == {"count": 4, "median": 9.0, "p90": 9.0, "total": 36}
    assert (zoo["pairs"][0]["only_first"], zoo["pairs"][0]["p"]) == (2, 0.5)
    assert told["slides"]["right"]["B3D"]["CIFAR-10"]["hits"] == 195
    assert "other victims" in told["slides"]["context"]


def test_csv_has_a_row_a_method_and_one_a_group(tmp_path: Path) -> None:
    rows = list(csv.DictReader(StringIO(to_csv(table(tmp_path)))))
    whole = [row for row in rows if not row["by"]]
    assert [(row["detector"], row["right"], row["right_of"]) for row in whole] == [
        ("probe", "4", "4"),
        ("nc", "2", "4"),
    ]
    assert (whole[0]["queries_total"], whole[0]["forward_total"], whole[0]["budget"]) == ("10000", "", "300000")
    assert (whole[1]["forward_all_median"], whole[1]["budget"]) == ("9.0", "")
    groups = [(row["method"], row["by"], row["group"], row["caught"], row["caught_of"]) for row in rows if row["by"]]
    assert ("probe", "size", "2x2", "1", "1") in groups
    assert ("nc", "architecture", "conv4", "0", "1") in groups
