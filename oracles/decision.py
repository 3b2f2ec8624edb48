"""What a model's rows are taken for, decided once, by its first finite answer, and kept by every later process."""

from __future__ import annotations

from dataclasses import dataclass, replace

from oracles.errors import ModelError
from oracles.rows import NOISE, Evidence
from oracles.torch_options import Output


@dataclass(frozen=True)
class Decision:
    """What the rows are: logits or probabilities, or `auto` while that is open.

    evidence: what it was decided on, in words; empty while it is open or if it was set. note: what a reader of the
    result must know, where there is doubt. scale: what a row of probabilities sums to. settled: later answers decide
    nothing.
    """

    output: Output
    evidence: str = ""
    note: str = ""
    scale: float = 1.0
    settled: bool = False


def decided(before: Decision, shown: Evidence) -> Decision:
    """The decision by the first finite answer. Raises ModelError where probabilities were set, and the rows are none.

    Rows of a constant sum of 100 or 255 are probabilities on that scale. Rows that were set to be probabilities and lie
    in [0, 1] but for some noise are brought to a sum of 1, with a note.
    """
    if before.output == "logits":
        return replace(before, settled=True)
    after = replace(before, output="probabilities", settled=True, scale=shown.scale)
    if before.output == "auto":
        after = replace(after, evidence=str(shown))
    if shown.scale != 1.0:
        return replace(after, note=f"the answers were divided by {shown.scale:g} and taken for probabilities: {shown}")
    if shown.probabilities:
        return after if shown.exact else replace(after, note=f"the answers were taken for probabilities: {shown}")
    numbers = f"{shown}, numbers {shown.least:.3g} to {shown.greatest:.3g}"
    if before.output == "probabilities":
        if shown.least < -NOISE or shown.greatest > 1.0 + NOISE:
            said = "the model's rows are no probabilities in [0, 1] with a sum of 1"
            raise ModelError(f"{said}: {numbers}; {_advice(shown)}")
        said = "the answers were taken for probabilities, as set, though they do not sum to 1"
        return replace(after, note=f"{said}: {numbers}")
    doubt = f"the answers were taken for logits, though they may be probabilities: {numbers}; set output to say which"
    return replace(after, output="logits", note=doubt if _doubtful(shown) else "")


def _doubtful(shown: Evidence) -> bool:
    """Whether rows that are taken for logits may be probabilities on another scale, with noise, or of sigmoids."""
    near_unit = shown.least >= -NOISE and shown.greatest <= 1.0 + NOISE
    return shown.least >= 0.0 or (near_unit and shown.lowest >= 0.5 and shown.highest <= 1.5)


def _advice(shown: Evidence) -> str:
    if shown.least < 0.0:
        return "set output='logits'"
    return "divide them so that each row sums to 1, or set output='logits' if they are logits"
