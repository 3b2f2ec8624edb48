"""Curves over budgets as one self-contained HTML page, a picture with tables below it, and as text."""

from __future__ import annotations

import base64
from importlib.metadata import version

from studies.render.formats import left_out_words
from studies.render.pages import environment
from studies.render.text import filled, joined, notes, section_blocks
from studies.results.budget import wording
from studies.results.budget.figure import draw
from studies.results.budget.records import BudgetStudy


def page(study: BudgetStudy) -> str:
    """The page; it holds no date and no random name, so equal records give equal text."""
    return (
        environment()
        .get_template("budget.html.j2")
        .render(
            title=wording.title(study),
            counted=wording.counted(study),
            left_out=left_out_words(study.split, study.left_out),
            picture=base64.b64encode(draw(study, "svg")).decode(),
            alt="Accuracy, TPR and FPR over the query budget, for every curve in the tables below",
            sections=wording.sections(study),
            reading=wording.READING,
            version=version("b3d-simkit"),
        )
    )


def text(study: BudgetStudy, width: int) -> str:
    """All tables as text that is at most `width` columns wide."""
    head = f"{wording.title(study)}\n{filled(wording.counted(study), width)}"
    blocks = [block for section in wording.sections(study) for block in section_blocks(section, width)]
    left_out = filled(left_out_words(study.split, study.left_out), width)
    return joined([head, *blocks, notes(wording.READING, width), left_out])
