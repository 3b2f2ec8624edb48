"""The named settings of a scan: a search, the rule that judges its triggers, and how the driver looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from simkit.errors import ConfigError
from simkit.search.annealing import AnnealingConfig
from simkit.search.b3d import B3DConfig
from simkit.search.contract import Cautious, Limited, SearchConfig
from simkit.search.driver import DriverConfig
from simkit.search.race import RaceConfig
from simkit.search.random_patch import RandomPatchConfig
from simkit.search.refine import RefineConfig
from simkit.search.sparsity import SparsityConfig
from simkit.search.synthesis import SynthesisConfig
from simkit.verdict import RULES, Rule, SequentialTest


@dataclass(frozen=True)
class Preset:
    """All settings of a scan that concern the search.

    search: of the searcher, its type says which. rule: a name in `simkit.verdict.RULES`, or one of your own. driver:
    see `DriverConfig`. labels: of the searcher where the service answers labels alone; None: as `search`. synthesis:
    how a scan makes its images by asking; None for one that is given them. then: the preset of the next stage, which
    begins where this one ends without a finding; its own synthesis is not looked at. least_queries: a class, that must
    be left for this preset to begin as a later stage. refine: how the triggers of a finding are made better; None to
    leave them as they were found.
    """

    search: SearchConfig
    rule: str | Rule
    driver: DriverConfig = field(default_factory=DriverConfig)
    labels: SearchConfig | None = None
    synthesis: SynthesisConfig | None = None
    then: Preset | None = None
    least_queries: int = 0
    refine: RefineConfig | None = None

    def for_answers(self, *, labels_only: bool) -> Preset:
        """The preset for this kind of answer, and so all that follow it."""
        then = None if self.then is None else self.then.for_answers(labels_only=labels_only)
        chosen = self.labels if labels_only and self.labels is not None else self.search
        return replace(self, search=chosen, then=then)

    @property
    def stages(self) -> tuple[Preset, ...]:
        """This preset and what follows it, in order."""
        return (self,) if self.then is None else (self, *self.then.stages)

    def warnings(self, image_shape: tuple[int, int, int]) -> tuple[str, ...]:
        """What the first search has to say of images of this shape, (C, H, W), before a query is spent."""
        if not isinstance(self.search, Cautious):
            return ()
        return self.search.warnings(image_shape, alone=self.then is None)

    @property
    def only_sought(self) -> str | None:
        """The one kind of trigger that the first search looks for; None where it looks for any."""
        return self.search.only_sought if isinstance(self.search, Limited) else None

    def decision_rule(self) -> Rule:
        """The rule itself. Raises ConfigError if there is none of that name."""
        return self.rule if isinstance(self.rule, Rule) else rule(self.rule)


# Chosen on tune victims: large steps of the pattern and of Adam, while a pixel of mask is dear from the start. Of 100
# and 50 samples a step both found all eight backdoors tried there, the latter for half the queries.
B3D = B3DConfig(
    samples=50,
    images=1,
    steps=114,
    sigma=1.0,
    learning_rate=0.2,
    mask_limit=3.0,
    grid=16,
    baseline="leave_one_out",
    joint=True,
    antithetic=True,
    exact_sparsity=True,
    sparsity=SparsityConfig(
        weight=1e-2,
        mode="proportional",
        raise_by=1.22,
        lower_by=1.1,
        required_success=0.8,
        smoothing=0.6,
        least=1e-3,
        most=0.3,
    ),
)

# A loss of labels lies in [0, 1], a tenth of a cross entropy; with a sparse first mask it would be 1 everywhere.
# So few samples were not tried on labels.
_B3D_LABELS = replace(
    B3D,
    samples=100,
    steps=120,
    mask_init=0.0,
    sparsity=replace(B3D.sparsity, weight=1e-3, least=1e-4, most=0.03),
)

_ANNEALING = AnnealingConfig()

# Chosen on tune victims: a thousand random images, and two steps of fixed length on 256 of them. Ten classes take 4,900
# to 5,800 queries, where `b3d` asks 60,000 of a clean model. With 2,000 random images and no steps the verdicts
# were the same, but the masks of a clean model's classes less alike.
_SYNTHESIS = SynthesisConfig(
    draws=1000,
    noise="smooth",
    samples=10,
    sigma=0.1,
    steps=2,
    learning_rate=0.1,
    unit_steps=True,
    baseline="leave_one_out",
    antithetic=True,
    enough=0.95,
)

# Every round is looked at: a patch that passed the race's own test goes to unseen images at once.
_LOOKS = DriverConfig(check_images=32, verify_images=0, first_look=1, look_every=1, confirm_batch=4)

# A margin of labels is 1 or -1. Of 84 finds from the labels of tune victims of ten classes the end for clean models
# would have ended one too early, of 29 of 43 classes none; half of the scans of clean models by 1,224 queries.
_RACE = Preset(RaceConfig(), "small_share", _LOOKS, labels=RaceConfig(clean_value=0.21, queries=4700))

# Large patches remind clean models of classes, too: what they must do to pass is harder. Chosen on tune victims with
# patches of 5x5 to 8x8 (11 of 12 scans found) and on clean ones of cifar10-clean-calibrate (none of 12 flagged).
_STRICT = SequentialTest(works=0.95, fails=0.8)
_WIDE = Preset(
    RaceConfig(
        patches=2,
        largest_share=1 / 16,
        size_penalty=1.28,
        required_success=0.8,
        test=replace(_STRICT, alpha=0.01, beta=0.01),
        queries=10_000,
        clean_from=None,
    ),
    replace(RULES["small_share"], threshold=1 / 16, source="of the race, under a stricter test"),
    replace(_LOOKS, confirmation=_STRICT, confirm_batch=8),
    least_queries=200,
    refine=RefineConfig(),
)

# After two races the rest of the budget is worth spending only where half of the search, or more, can be paid for.
_LAST = Preset(B3D, "below_median", labels=_B3D_LABELS, least_queries=3_000)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        # what each is called and does is said in simkit.detectors.registry
        # the slides' estimators; the constants are the defaults of B3DConfig, which names their sources
        "b3d-slides": Preset(B3DConfig(), "below_median"),
        "b3d": Preset(B3D, "below_median", labels=_B3D_LABELS),
        # B3D-SS: the same search on images that it makes itself
        "b3d-ss": Preset(B3D, "below_median", labels=_B3D_LABELS, synthesis=_SYNTHESIS),
        "race": _RACE,
        "race-wide": _WIDE,
        # the cheapest first; what a user gets who names no preset
        "auto": replace(_RACE, then=replace(_WIDE, then=_LAST), refine=RefineConfig()),
        "random-patch": Preset(RandomPatchConfig(), "small_patch", DriverConfig(first_look=10, look_every=5)),
        "annealing": Preset(
            _ANNEALING,
            "small_patch",
            DriverConfig(first_look=10, look_every=5),
            # a margin of labels is 1 or -1, and so steep an objective is the mean hit
            labels=replace(_ANNEALING, steepness=20.0),
        ),
    }
)


def preset(name: str) -> Preset:
    """The preset of that name. Raises ConfigError if there is none."""
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}; choose from {', '.join(PRESETS)}")
    return PRESETS[name]


def rule(name: str) -> Rule:
    """The decision rule of that name. Raises ConfigError if there is none."""
    if name not in RULES:
        raise ConfigError(f"no rule {name!r}; choose from {', '.join(RULES)}")
    return RULES[name]
