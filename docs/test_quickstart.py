"""The quickstart can be followed, word for word; every other page begins where it ends."""

from __future__ import annotations

from docs.snippets import KEPT, after_quickstart


def test_it_can_be_followed_and_leaves_what_the_other_pages_begin_with() -> None:
    assert set(KEPT) <= {path.name for path in after_quickstart().iterdir()}
