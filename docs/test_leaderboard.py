"""The leaderboard of the site is what its command makes from the result lines of the repository."""

from __future__ import annotations

from pathlib import Path

from studies.results.leaderboard.gather import gather_leaderboard
from studies.results.leaderboard.views import markdown

ROOT = Path(__file__).parent.parent


def test_the_leaderboard_is_made_from_the_result_lines_that_are_there() -> None:
    """After new lines: simkit study leaderboard results/*.jsonl --out docs/leaderboard.md"""
    made = markdown(gather_leaderboard(sorted((ROOT / "results").glob("*.jsonl"))))
    assert (ROOT / "docs" / "leaderboard.md").read_text(encoding="utf-8") == made
