"""Seals: equal for equal rows, another for any other, and the migration's copy agrees."""

from __future__ import annotations

import math
from importlib import import_module

from hypothesis import given
from hypothesis import strategies as st

from db.seal import SEALED, broken, insertion, seal, selection

frozen, one_scale, families = (
    import_module(f"db.migrations.versions.{name}") for name in ("0003_seals", "0005_one_scale", "0006_families")
)
VALUES = st.lists(
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False).map(lambda value: value + 0.0)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(),
    max_size=4,
)


@given(VALUES, VALUES)
def test_other_rows_have_other_seals(first: list[object], other: list[object]) -> None:
    same = [(type(v), v) for v in first] == [(type(v), v) for v in other]
    assert (seal(first) == seal(other)) == same


@given(VALUES)
def test_the_migrations_seal_alike(row: list[object]) -> None:
    assert frozen._sum(row) == families._sum(row) == seal(row)


def test_a_seal_is_pinned() -> None:
    assert seal([1, 0.5, "a", b"a", None]) == 3566500049


def test_the_migrations_seal_the_columns_of_today() -> None:
    # of the tables that there were, and then of those that were made anew with more columns
    sealed = frozen.COLUMNS | {"verdicts": one_scale._SEALED, "triggers": families._SEALED}
    assert {table: tuple(columns.split(", ")) for table, columns in sealed.items()} == {
        table: SEALED[table] for table in frozen.COLUMNS
    }


def test_what_sqlite_gives_back_otherwise_has_one_seal() -> None:
    assert seal([math.nan]) == seal([None])
    assert seal([-0.0]) == seal([0.0]) != seal([0])


def test_rows_are_named_whose_seal_differs() -> None:
    good, bad = (4, "a", 1.0, seal(["a", 1.0])), (5, "b", 1.0, seal(["a", 1.0]))
    assert list(broken([good, bad])) == [5]


def test_the_sql_names_every_column_once() -> None:
    assert insertion("refusals", x="'y'") == (
        "INSERT INTO refusals (run_id, step_id, queries, reason, at, seal, x) VALUES (?, ?, ?, ?, ?, ?, 'y')"
    )
    wanted = "SELECT rowid, run_id, step_id, queries, reason, at, seal FROM refusals WHERE 1"
    assert selection("refusals", "WHERE 1") == wanted
