"""A study of budgets as text for a terminal of 80 columns or more."""

from __future__ import annotations

from studies.budget import words
from studies.budget.data import BudgetStudy
from studies.table.text import filled, joined, notes, section_blocks
from studies.table.words import left_out_words


def text(study: BudgetStudy, width: int) -> str:
    """All of it, `width` columns wide at most."""
    head = f"{words.title(study)}\n{filled(words.counted(study), width)}"
    blocks = [block for section in words.sections(study) for block in section_blocks(section, width)]
    left_out = filled(left_out_words(study.split, study.left_out), width)
    return joined([head, *blocks, notes(words.READING, width), left_out])
