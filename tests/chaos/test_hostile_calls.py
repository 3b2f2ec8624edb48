"""Operators that model files may call stay within their tensors, whatever the arguments."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.chaos.child import CONTEXT
from tests.chaos.hostile_calls import call_all, overloads
from tests.chaos.resume import Lab

DIVISIONS = {"floordiv", "remainder", "__round_to_zero_floordiv", "fmod", "divmod", "mathremainder", "floor_divide"}
"""Of whole numbers by 0, or of the least by -1: SIGFPE. Honest models divide sizes too, so these stay allowed."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory and signals as Linux has them")
def test_no_operator_leaves_its_tensors(lab: Lab) -> None:
    every = overloads()
    most, times = lab.sized(60, len(every)), lab.sized(10, 100)
    notes, first, slow = lab.folder / "notes", 0, 0
    while first < most:
        process = CONTEXT.Process(target=call_all, args=(notes, first, most, times))
        process.start()
        process.join()
        number = int(notes.read_text())
        if number == most:
            break
        name, code = every[number].name.removeprefix("aten::"), process.exitcode
        divided = code == -signal.SIGFPE and name in DIVISIONS
        assert divided or code == -signal.SIGALRM, f"{every[number]}: ended with {code}"
        slow += code == -signal.SIGALRM
        first = number + 1
    lab.count("operators called", most)
    lab.count("hostile calls", most * times)
    lab.count("operators that ran too long", slow)
