"""How many scans have the right verdict within a number of queries."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from benchmarks import within
from studies.study.result_file import read_lines

RESULTS = Path(__file__).resolve().parents[2] / "results"
LINES = list(read_lines(RESULTS / "niches.jsonl"))
WAVES = [line for line in LINES if within.kind_of(line) == "waves" and line.detector.endswith(":NICHES")]


def test_the_rows_are_those_of_the_page_of_the_stages() -> None:
    table = {(row["victims"], row["detector"]): row for row in within.rows(LINES, [1490])}
    assert table["noise", "NICHES"] == {
        **{"victims": "noise", "service": "scores", "detector": "NICHES", "scans": 27},
        **{"within 1,490": 27, "right": 27, "median": "684"},
    }
    assert (table["noise", "ONE_POOL"]["within 1,490"], table["noise", "ONE_POOL"]["right"]) == (22, 26)
    assert [table["waves", name]["within 1,490"] for name in ("NICHES", "ONE_POOL")] == [15, 16]
    assert table["clean", "NICHES"]["right"] == table["clean", "NICHES"]["scans"] == 13


def test_a_verdict_is_counted_from_its_last_query_on() -> None:
    after = WAVES[0].decided_after
    (row,) = within.rows(WAVES[:1], [after - 1, after])
    assert (row[f"within {after - 1:,}"], row[f"within {after:,}"], row["right"]) == (0, 1, 1)


def test_another_class_beside_the_target_and_no_verdict_are_not_right() -> None:
    other = next(k for k in range(10) if k not in WAVES[0].target_classes)
    wrong = [
        WAVES[0].model_copy(update={"flagged": (*WAVES[0].flagged, other)}),
        WAVES[1].model_copy(update={"verdict": "undecided", "flagged": ()}),
    ]
    (row,) = within.rows(wrong, [10**6])
    assert (row["within 1,000,000"], row["right"], row["median"], row["scans"]) == (0, 0, "-", 2)


def test_the_page_of_restricted_services_has_its_counts_from_the_lines() -> None:
    backdoored: Counter[str] = Counter()
    for row in within.rows(read_lines(RESULTS / "auto-services.jsonl"), []):
        if row["victims"] == "clean":
            assert row["right"] == row["scans"] == 39
        else:
            backdoored[row["service"].replace("uint8 images", "").strip(", ")] += row["right"]
    assert backdoored == {
        **{"top-5": 28, "top-1": 26, "rounded to 2 decimals": 28},
        **{"score noise 0.05": 25, "input noise 0.03": 20},
    }


def test_no_rival_finds_a_wave_or_a_warp() -> None:
    table = within.rows(read_lines(RESULTS / "rivals.jsonl"), [10_000])
    smooth = [row for row in table if row["victims"] in ("waves", "warps")]
    assert [row["right"] for row in smooth] == [0] * 10
    assert sum(row["scans"] for row in smooth) == 5 * 15
    assert {row["right"] for row in table if row["victims"] == "clean"} == {10}
