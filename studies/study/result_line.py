"""One finished scan as a line of `results/*.jsonl`: what was tried on which victim, what it said, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from simkit.detectors.registry import current_name, current_settings
from simkit.verdict import Kind, Stopped
from simkit.zoo.spec import ZooSplit
from studies.scan.canonical import digest


class ClassLine(BaseModel):
    """What was found for one class; see `simkit.verdict.ClassResult`. trials: None in lines from before this field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target_class: int
    mask_size: float
    success_rate: float | None
    censored: bool
    trials: int | None = None


class ResultLine(BaseModel):
    """One detector on one victim.

    zoo, split, index, model_hash: the victim. detector: a name of `simkit study scan --detector`. config: its settings
    written out, with budget and oracle; config_hash: SHA-256 of those. data_hash: of the images it was given.
    environment: versions, machine, threads. truth, stratum, attack (a kind of attack, None for clean), architecture,
    target_classes, clean_accuracy, implant_success: of the manifest. score: higher is more suspicious, None where it
    said nothing. queries: paid for; decision_queries: those of them when the verdict stood, before findings were
    refined, None in lines from before this field; image_queries: those that went into making images. white_box: whether
    it got the weights. forward_passes, backward_passes: images through the model, None for a black box, and for a white
    box that does not count. seconds: of the scan.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    zoo: str
    split: ZooSplit
    index: int
    model_hash: str
    detector: str
    config_hash: str
    config: dict[str, Any]
    data_hash: str
    environment: dict[str, Any]
    truth: Literal["clean", "backdoored"]
    stratum: str
    attack: str | None
    architecture: str
    target_classes: tuple[int, ...]
    clean_accuracy: float
    implant_success: float | None
    verdict: Kind
    stopped: Stopped
    flagged: tuple[int, ...]
    score: float | None
    queries: int
    decision_queries: int | None = None
    image_queries: int = 0
    white_box: bool = False
    forward_passes: int | None = None
    backward_passes: int | None = None
    seconds: float
    classes: tuple[ClassLine, ...] = ()
    notes: str = ""

    @model_validator(mode="before")
    @classmethod
    def _by_current_names(cls, values: Any) -> Any:
        """Lines from before a preset was renamed, as if they were written today: a line's hash is of its settings."""
        if not isinstance(values, Mapping) or not isinstance(values.get("config"), Mapping):
            return values
        config, detector = current_settings(values["config"]), values.get("detector")
        changed: dict[str, Any] = {"config": config}
        if isinstance(detector, str):
            changed["detector"] = current_name(detector)
        if config != dict(values["config"]):
            changed["config_hash"] = digest(config)
        return dict(values) | changed

    @property
    def unit(self) -> tuple[str, str, int, str, str, str]:
        """What a line is known by: the same unit is not scanned twice."""
        return self.zoo, self.split, self.index, self.model_hash, self.detector, self.config_hash

    @property
    def asks(self) -> bool:
        """Whether it had queries alone to go by; a line from before `white_box` tells by its passes."""
        return not self.white_box and self.forward_passes is None

    @property
    def decided_after(self) -> int:
        """Queries when the verdict stood, as far as the line tells."""
        return self.queries if self.decision_queries is None else self.decision_queries

    @property
    def staged(self) -> bool:
        """Whether the scan goes on with another search where one ended without a finding."""
        return bool(self.config.get("stages"))

    @property
    def right(self) -> bool:
        """Whether the verdict is the truth; `undecided` and `invalid` never are."""
        return self.verdict == self.truth
