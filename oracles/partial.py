"""What was answered of a call before the rest of it failed. The error carries it, so that it is charged and recorded.

A paid service may answer the first images of a call and fail on the rest. Whatever raises the error then attaches the
answer to these first images with `carrying`; each `Wrapper` on the way turns the answer into what its caller may see.
`Metered` charges it, `Recorded` records it, and `Replayed` asks only for the rest when the same call comes again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from oracles.answers import Answer

ErrorT = TypeVar("ErrorT", bound=BaseException)

_ATTRIBUTE = "partial_answer"


@dataclass(frozen=True, eq=False)
class PartialAnswer:
    """The answer to the first `len(answer)` images of a call. by: the oracle whose caller may see it in this form."""

    answer: Answer
    by: object


def carrying(error: ErrorT, answer: Answer, by: object) -> ErrorT:
    """The same error, of any type (also KeyboardInterrupt or Refused), with what `by` answered of its present call."""
    setattr(error, _ATTRIBUTE, PartialAnswer(answer, by))
    return error


def carried(error: BaseException, by: object) -> Answer | None:
    """What `by` answered of the call that ended in this error; None if nothing.

    An answer of any other oracle does not count: an oracle between them, which knows nothing of this, did not turn it
    into what its own caller may see.
    """
    part = getattr(error, _ATTRIBUTE, None)
    return part.answer if isinstance(part, PartialAnswer) and part.by is by else None
