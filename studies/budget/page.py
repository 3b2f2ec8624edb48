"""A study of budgets as one HTML page that needs nothing but itself: the picture, and the tables below it."""

from __future__ import annotations

import base64
from importlib.metadata import version

from studies.budget import words
from studies.budget.data import BudgetStudy
from studies.budget.figure import draw
from studies.table.page import environment
from studies.table.words import left_out_words


def page(study: BudgetStudy) -> str:
    """The page. Equal records give equal text: no date, no random name."""
    return (
        environment("studies.budget")
        .get_template("budget.html.j2")
        .render(
            title=words.title(study),
            counted=words.counted(study),
            left_out=left_out_words(study.split, study.left_out),
            picture=base64.b64encode(draw(study, "svg")).decode(),
            alt="Accuracy, TPR and FPR over the query budget, for every curve of the tables below",
            sections=words.sections(study),
            reading=words.READING,
            version=version("b3d-simkit"),
        )
    )
