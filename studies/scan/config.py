"""The settings of one scan, shared by Python, the command line and the run key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    WithJsonSchema,
    field_validator,
)

from oracles import spec as oracle_specs
from oracles.oracle import ImageShape, Oracle, Restriction
from oracles.remote.config import RemoteConfig
from oracles.spec import OracleSpec
from oracles.torch_options import InputDtype, InputLayout, Output, Precision, TorchOptions
from simkit.data.size import ImageSize
from simkit.errors import ConfigError, complaint
from simkit.search.presets import Preset, preset, rule
from simkit.search.refine import RefineConfig
from simkit.search.relay import Course
from simkit.search.stage_names import stage_names
from simkit.verdict import Rule
from studies.scan.fields import valid, whole, with_fields
from studies.scan.plain_stages import driver_of, later_stage, where_there
from studies.scan.setting_names import check_not_of_a_search, check_search_names
from studies.scan.user_code import described, described_rule, qualified_name

Whole = Annotated[int, BeforeValidator(whole)]
Positive = Annotated[Whole, Field(ge=1, le=2**63 - 1)]


class ScanConfig(BaseModel):
    """Everything that determines a scan besides the model and the images. Raises ConfigError, InvalidSpec."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    data: str = Field(
        default="", description="The test images, see `simkit.data.load`; empty where images are passed in directly."
    )
    image_size: ImageSize | None = Field(
        default=None,
        description="Size (height, width) that image files are resized to, or one number for both; None keeps theirs.",
    )
    image_shape: tuple[Positive, Positive, Positive] | None = Field(
        default=None,
        description="Shape (channels, height, width) of the model's images, for a preset that makes its own images and"
        " a model that does not state it.",
    )
    budget: Positive | None = Field(default=None, description="Maximum number of queries; None for no limit.")
    oracle: OracleSpec = Field(
        default=OracleSpec(),
        description="The service's answers: a spec, or anything that `oracles.spec.load` takes.",
    )
    restriction: Any = Field(
        default=None,
        description="A user's own restriction around the model, see `oracles.oracle.Restriction`.",
    )
    preset: Annotated[str | InstanceOf[Preset], WithJsonSchema({"type": "string"})] = Field(
        default="auto", description="The name of a preset, or a user's own `Preset`."
    )
    seed: Annotated[Whole, Field(ge=0, le=2**63 - 1)] = Field(
        default=0, description="Seed of the choice of images and of the search."
    )
    search_images: Positive = Field(default=128, description="Number of test images that the search uses.")
    verify_images: Positive = Field(
        default=128, description="Number of other test images, on which triggers are confirmed."
    )
    output: Output | None = Field(
        default=None,
        description="What the model outputs: `logits`, `probabilities` or `auto`; None means what its file states, else"
        " `auto`. One number per image is that of class 1 of two. A function may also output `labels`, class numbers"
        " without scores, which is a label-only service.",
    )
    output_item: Annotated[str, Field(coerce_numbers_to_str=True)] | None = Field(
        default=None,
        description="Which output has the scores, where the model returns several: its position or its name.",
    )
    input_layout: InputLayout | None = Field(
        default=None, description="`nhwc` for a model that takes images (N, height, width, channels)."
    )
    input_dtype: InputDtype | None = Field(
        default=None,
        description="`uint8` for a model that takes pixels of 0..255; None means what its file states, else `float32`.",
    )
    mean: tuple[float, ...] | None = Field(
        default=None, description="Per-channel mean, subtracted from pixels in [0, 1]."
    )
    std: tuple[float, ...] | None = Field(
        default=None, description="Per-channel standard deviation, by which pixels are divided after the mean."
    )
    precision: Precision = Field(default="float32", description="Floating-point type that the model is run in.")
    chunk: Positive = Field(default=TorchOptions.chunk, description="Maximum number of images per forward pass.")
    device: str = Field(default="cpu", description="The torch device that the model is run on.")
    batch_limit: Positive | None = Field(
        default=None, description="Maximum number of images per call of a model that is a function; None for no limit."
    )
    n_classes: Annotated[Whole, Field(ge=2)] | None = Field(
        default=None, description="Number of classes of the model, where images without labels do not state it."
    )
    architecture: str | None = Field(
        default=None,
        description="Architecture for a file that holds only weights: `resnet8`, `torchvision:resnet18`,"
        " `timm:resnet18`.",
    )
    trust_model: bool = Field(
        default=False,
        exclude=True,  # it changes no answer, so it is in no run's key
        description="Run a TorchScript, torch.export or ONNX file in this process, instead of in one that can open"
        " nothing; needed for a GPU and for white-box detectors of such files.",
    )
    remote: RemoteConfig = Field(
        default=RemoteConfig(),
        exclude=True,  # how a service is asked changes no answer, and its address is part of the model
        description="How a model behind a network is asked: key_env, key_file, in_flight, pace and others.",
    )
    name: str | None = Field(
        default=None,
        description="Name of the model in the ledger; required for an oracle or a function, and to distinguish modules"
        " that differ only in their code.",
    )
    search: dict[str, Any] = Field(
        default={},
        description="Settings of the search of the preset's first stage that replace its own, such as"
        ' {"samples": 50}. In the slides\' symbols for B3D, `sparsity.weight` is lambda, `sigma` is sigma and `samples`'
        " is k.",
    )
    driver: dict[str, Any] = Field(
        default={}, description="Settings of the first stage's driver that replace the preset's own."
    )
    rule: dict[str, Any] = Field(
        default={}, description="`name` and `threshold` of the decision rule, in place of the preset's."
    )
    synthesis: dict[str, Any] = Field(
        default={}, description="Settings for making images (b3d-ss) that replace the preset's own."
    )

    refine: Annotated[Whole, Field(ge=0, le=2**63 - 1)] | dict[str, Any] | None = Field(
        default=None,
        description="Maximum number of queries that make the trigger of a flagged class smaller and more reliable, 0"
        " for none; or settings that replace those of `RefineConfig`. None means the preset's.",
    )
    turns: bool = Field(
        default=True, description="Whether stages take turns where the preset says so; `false`: one after another."
    )

    @field_validator("preset", mode="before")
    @classmethod
    def _name_or_preset(cls, value: object) -> object:
        if not isinstance(value, str | Preset):
            raise ValueError("give the name of a preset, or a Preset")
        return value

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        """Accept a single number, and numbers separated by commas, as on the command line."""
        if isinstance(value, str):
            return tuple(value.split(","))
        return (value,) if isinstance(value, int | float) else value

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ScanConfig:
        """A config from plain values, with preset, rule and torch options checked as well."""
        values = dict(settings)
        if isinstance(data := values.get("data"), Path):
            values["data"] = str(data)
        if isinstance(oracle := values.get("oracle"), str | Path):
            values["oracle"] = oracle_specs.load(oracle)
        elif isinstance(oracle, Mapping):
            values["oracle"] = OracleSpec(**oracle)
        if values.get("output") == "labels" and isinstance(spec := values.get("oracle", OracleSpec()), OracleSpec):
            values["oracle"] = spec.without_scores()
        if isinstance(asked := values.get("remote"), Mapping):
            values["remote"] = RemoteConfig.of(dict(asked))
        check_not_of_a_search(values, cls.model_fields)
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(f"scan: {complaint(error, cls.model_fields)}") from None
        config.identity()
        config.torch_options(None)
        return config

    def resolved(self) -> Preset:
        """The preset with the settings applied."""
        chosen = self.chosen_preset().for_answers(labels_only=self.oracle.label_only)
        chosen = chosen if self.turns else chosen.one_by_one()
        if self.synthesis and chosen.synthesis is None:
            raise ConfigError(f"preset {self.preset_name} makes no images; leave out synthesis, or choose b3d-ss")
        if is_dataclass(chosen.search):
            check_search_names(self.search, chosen.search)
        return replace(
            chosen.refining(self._refinement(chosen)) if self.refine is not None else chosen,
            search=with_fields(chosen.search, self.search, "search"),
            driver=with_fields(chosen.driver, self.driver, "driver"),
            synthesis=with_fields(chosen.synthesis, self.synthesis, "synthesis"),
        )

    def _refinement(self, chosen: Preset) -> RefineConfig | None:
        """The refinement that the setting `refine` asks for, None for none; a number keeps what the preset's asks."""
        if isinstance(self.refine, dict):
            return with_fields(RefineConfig(), self.refine, "refine")
        return replace(RefineConfig.within(self.refine), standing=chosen.standing) if self.refine else None

    def resolved_rule(self) -> Rule:
        """The decision rule; the source of a threshold set here is `set for this run`."""
        if unknown := self.rule.keys() - {"name", "threshold"}:
            raise ConfigError(f"rule has no setting {min(unknown)!r}; set name or threshold")
        if self.rule and self.chosen_preset().then is not None:
            raise ConfigError(f"preset {self.preset_name} has one rule per stage; choose a preset of one stage")
        own = self.chosen_preset().for_answers(labels_only=self.oracle.label_only).decision_rule()
        chosen = rule(self.rule["name"]) if "name" in self.rule else own
        if "threshold" not in self.rule:
            return chosen
        threshold = valid(float, self.rule["threshold"], "rule.threshold")
        return replace(chosen, threshold=threshold, source="set for this run")

    def restricted(self, model: Oracle, first: int) -> Oracle:
        """The model with the user's own restriction, if there is one. first: number of queries by earlier processes."""
        if self.restriction is None:
            return model
        wrapped = cast(Restriction, self.restriction).wrap(model, first)
        if not callable(getattr(wrapped, "query", None)):
            raise ConfigError(
                f"{qualified_name(self.restriction)}.wrap returns no oracle; return a Wrapper around inner"
            )
        return wrapped

    @property
    def preset_name(self) -> str:
        """The preset's name; for a user's own preset, the name of its search's class."""
        return self.preset if isinstance(self.preset, str) else qualified_name(self.preset.search)

    def chosen_preset(self) -> Preset:
        """The preset without the settings."""
        return preset(self.preset) if isinstance(self.preset, str) else self.preset

    def stage_names(self, image_shape: ImageShape) -> tuple[str, ...]:
        """The names of the stages that have something to look for on images of this shape, (C, H, W)."""
        chosen = self.chosen_preset().without_scores_only() if self.oracle.label_only else self.chosen_preset()
        return stage_names(chosen.on(image_shape))

    def torch_options(self, output: Output | None, takes_bytes: bool = False) -> TorchOptions:
        """How the model is run. output: as its file states, unless a setting replaces it; takes_bytes: as it states."""
        return TorchOptions(
            self.output or output or "auto",
            self.mean,
            self.std,
            self.precision,
            self.chunk,
            self.device,
            self.input_layout or "nchw",
            "uint8" if takes_bytes else self.input_dtype or "float32",
            self.output_item,
        )

    def identity(self) -> dict[str, Any]:
        """The part of this config that identifies a run, with the preset's settings written out, as plain values."""
        resolved = self.resolved()
        later = [later_stage(stage) for stage in resolved.stages[1:]]
        return self.service() | {
            "search": described(resolved.search, "search"),
            "driver": driver_of(resolved),
            "rule": described_rule(self.resolved_rule()),
            **where_there(resolved, "synthesis", "refine", "turns"),
            **({"stages": later} if later else {}),
        }

    def course(self, image_shape: ImageShape) -> Course:
        """The stages of this scan that have something to look for on images of this shape, (C, H, W)."""
        staged = self.chosen_preset().then is not None
        return Course(self.resolved().on(image_shape), self.seed, self.budget, None if staged else self.resolved_rule())

    def service(self) -> dict[str, Any]:
        """The identity without the search and its rule: the service, the model's options, the budget and the images."""
        left_out = {"data", "name", "search", "driver", "rule", "synthesis", "preset", "restriction", "refine", "turns"}
        left_out |= {name for name in _WHERE_SET if getattr(self, name) is None}
        own = self.model_dump(mode="json", exclude=left_out)
        return own | {"restriction": None if self.restriction is None else described(self.restriction, "wrap")}


_WHERE_SET = ("image_shape", "output_item", "input_layout", "input_dtype")
"""Settings that are part of the run key only where they are set, since older runs do not have them."""
