"""Markdown shows text as it is, whatever a stranger's name holds."""

from __future__ import annotations

import pytest

from studies.render.grids import Grid, Section, Shown
from studies.render.markdown import code, escaped, listed, section_markdown
from studies.statistics import share


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cifar10_report, a-b", "cifar10_report, a-b"),
        ("_a_ *b* `c`", "\\_a\\_ \\*b\\* \\`c\\`"),
        ("<b>|[x](y)\n# z", "&lt;b&gt;\\|\\[x\\](y) # z"),
        ("a\\|b & \x1b[1m", "a\\\\\\|b &amp; \\\\x1b\\[1m"),
    ],
)
def test_markup_is_escaped(text: str, said: str) -> None:
    assert escaped(text) == said


def test_code_is_kept_where_it_is_ours_and_made_where_it_is_asked_for() -> None:
    assert listed(["run `a b`", "two"]) == "- run `a b`\n- two"
    assert code('kind="a`b"\n') == '`kind="a\'b"`'


def test_a_section_has_a_heading_paragraphs_and_tables() -> None:
    grid = Grid("Few", ("name", "right"), (("a|b", Shown(share(1, 2), "1/2")), ("c", "-")), "A note.")
    blocks = list(section_markdown(Section("Zoo", "Begins.", (grid,), "Ends.")))
    table = "| name | right |\n|---|---|\n| a\\|b | 1/2 |\n| c | - |"
    assert blocks == ["## Zoo", "Begins.", "**Few**", table, "A note.", "Ends."]
