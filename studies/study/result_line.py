"""One finished scan as a line of `results/*.jsonl`: its victim, its detector and settings, its verdict and its cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simkit.detectors.registry import current_name, current_settings
from simkit.verdict import Kind, Stopped
from simkit.zoo.spec import ZooSplit
from studies.scan.canonical import digest

BY_VICTIM = ", by victim"
"""Ends the seed in the settings of a line where each victim of a zoo is scanned with a seed of its own."""


class ClassLine(BaseModel):
    """The result for one class; see `simkit.verdict.ClassResult`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target_class: int = Field(description="The class.")
    mask_size: float = Field(description="Mask size of its trigger in pixels.")
    success_rate: float | None = Field(description="Success rate of its trigger on unseen images, None if not tried.")
    censored: bool = Field(description="Whether no trigger reached the required success rate.")
    trials: int | None = Field(default=None, description="Number of unseen images tried; None in older lines.")
    family: str = Field(default="patch", description="Family of its trigger, as `patch`, which all older ones are.")
    strength: float | None = Field(default=None, description="Strength of its trigger; None in older lines.")
    unit: str = Field(default="pixels", description="Unit of the strength.")


class ResultLine(BaseModel):
    """One detector on one victim."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    zoo: str = Field(description="Name of the zoo.")
    split: ZooSplit = Field(description="Split of the zoo.")
    index: int = Field(description="Index of the victim in the zoo.")
    model_hash: str = Field(description="SHA-256 of the victim's weights.")
    detector: str = Field(description="Name of the detector, as in `simkit detectors`.")
    config_hash: str = Field(description="SHA-256 of `config`.")
    config: dict[str, Any] = Field(
        description="All settings of the scan, with budget and oracle. `seed` is a text where the scan's own seed"
        " follows from it and from the victim's."
    )
    seed: int | None = Field(
        default=None, description="Seed of the scan; None in older lines, where it is in `config`."
    )
    data_hash: str = Field(description="SHA-256 of the images of the scan.")
    image_shape: tuple[int, int, int] | None = Field(
        default=None, description="Shape (C, H, W) of the images; None in older lines and without a trigger."
    )
    environment: dict[str, Any] = Field(description="Versions, machine and thread count of the scan.")
    truth: Literal["clean", "backdoored"] = Field(description="The truth about the victim.")
    stratum: str = Field(description="Trigger size or attack by which the zoo groups its victims.")
    attack: str | None = Field(description="Kind of the attack, None for a clean victim.")
    architecture: str = Field(description="Architecture of the victim.")
    target_classes: tuple[int, ...] = Field(description="Target classes of the attack, empty for a clean victim.")
    clean_accuracy: float = Field(description="The victim's accuracy on held-out clean images.")
    implant_success: float | None = Field(description="Attack success rate (ASR), None for a clean victim.")
    verdict: Kind = Field(description="The verdict.")
    stopped: Stopped = Field(description="Why the scan stopped.")
    flagged: tuple[int, ...] = Field(description="The flagged classes.")
    score: float | None = Field(description="Score of the verdict, higher is more suspicious; None if there is none.")
    threshold: float | None = Field(
        default=None, description="A class is flagged just when its score is above this; None in older lines."
    )
    rule_limit: float | None = Field(
        default=None, description="The decision rule's own setting, such as a share of the image; None in older lines."
    )
    probability: float | None = Field(
        default=None,
        gt=0.0,
        lt=1.0,
        description="Probability of a backdoor if half of all models have one, as calibrated when the line was written;"
        " None where it was not.",
    )
    queries: int = Field(description="Number of charged queries.")
    decision_queries: int | None = Field(
        default=None, description="Queries up to the verdict, before a trigger was refined; None in older lines."
    )
    image_queries: int = Field(default=0, description="Number of the queries that made images.")
    white_box: bool = Field(default=False, description="Whether the detector had access to the weights.")
    forward_passes: int | None = Field(
        default=None, description="Images passed forward through the model; None if not counted."
    )
    backward_passes: int | None = Field(
        default=None, description="Images passed backward through the model; None if not counted."
    )
    seconds: float = Field(description="Wall time of the scan.")
    classes: tuple[ClassLine, ...] = Field(default=(), description="The results of all classes.")
    notes: str = Field(default="", description="Remarks on the scan.")

    @model_validator(mode="before")
    @classmethod
    def _by_current_names(cls, values: Any) -> Any:
        """Give older lines the current names of presets, and the hash of their settings with these names."""
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
        """The identity of a line's scan; no unit is scanned twice."""
        return self.zoo, self.split, self.index, self.model_hash, self.detector, self.config_hash

    @property
    def own_draw(self) -> bool:
        """Whether the images and the search were drawn for this victim alone."""
        return str(self.config.get("seed")).endswith(BY_VICTIM)

    @property
    def config_of_run(self) -> dict[str, Any]:
        """The settings as they are in the scan's ledger, with its own seed."""
        return self.config if self.seed is None else {**self.config, "seed": self.seed}

    @property
    def asks(self) -> bool:
        """Whether the detector had query access only; for older lines without `white_box`, by their passes."""
        return not self.white_box and self.forward_passes is None

    @property
    def decided_after(self) -> int:
        """The queries up to the verdict, as far as the line records them."""
        return self.queries if self.decision_queries is None else self.decision_queries

    @property
    def staged(self) -> bool:
        """Whether the scan has several stages."""
        return bool(self.config.get("stages"))

    @property
    def perhaps_early(self) -> bool:
        """Whether `clean` may be the verdict of an early stage: older scans said so where a later one did not end."""
        return self.staged and self.verdict == "clean" and self.rule_limit is None

    @property
    def ranked(self) -> float | None:
        """The score for comparisons with other lines. By the rules for small triggers, a confirmed trigger adds 1 to
        the score; in older lines it does not."""
        rule = self.config.get("rule")
        small = isinstance(rule, Mapping) and str(rule.get("name")).startswith("small_")
        added = small and self.rule_limit is None and bool(self.flagged)
        return self.score if self.score is None or not added else self.score + 1.0

    @property
    def right(self) -> bool:
        """Whether the verdict is correct; `undecided` and `invalid` never are."""
        return self.verdict == self.truth
