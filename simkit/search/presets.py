"""The presets, which are named settings of a scan: a search, its decision rule, and how it is driven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from oracles.errors import likely
from simkit.errors import ConfigError
from simkit.search.annealing import AnnealingConfig
from simkit.search.b3d import B3DConfig
from simkit.search.b3d_settings import B3D, B3D_50, B3D_LABELS, B3D_LABELS_100
from simkit.search.contract import Cautious, Choosy, Limited, SearchConfig
from simkit.search.driver import DriverConfig
from simkit.search.family_race import FamilyRaceConfig
from simkit.search.leaps import LeapConfig
from simkit.search.mosaic_race import MosaicRaceConfig
from simkit.search.picture_race import PictureRaceConfig
from simkit.search.race import RaceConfig
from simkit.search.random_patch import RandomPatchConfig
from simkit.search.refine import RefineConfig, Standing
from simkit.search.source_race import SourceRaceConfig
from simkit.search.synthesis import SynthesisConfig
from simkit.search.turns import Turns
from simkit.verdict import RULES, Rule, SequentialTest


@dataclass(frozen=True)
class Preset:
    """All settings of a scan that concern the search."""

    search: SearchConfig
    """The settings of the search; their type determines which search it is."""
    rule: str | Rule
    """The decision rule: a name in `simkit.verdict.RULES`, or a rule of your own."""
    driver: DriverConfig = field(default_factory=DriverConfig)
    """How the search is driven."""
    labels: SearchConfig | None = None
    """The settings of the search for label-only services; None for the same as `search`."""
    labels_rule: Rule | None = None
    """The decision rule for label-only services; None for the same as `rule`."""
    synthesis: SynthesisConfig | None = None
    """How images are synthesised by queries; None for a scan that is given images."""
    then: Preset | None = None
    """The preset of the next stage, which starts when this one ends, or its first turn, without a detection.

    Its synthesis is ignored."""
    least_queries: int = 0
    """Queries per class that must remain before this stage may start once all earlier ones are at their end."""
    refine: RefineConfig | None = None
    """How the triggers of flagged classes are refined; None for no refinement."""
    turns: Turns | None = None
    """When this stage lets the next one go on; None for not before its end."""
    scores_only: bool = False
    """Whether this stage is left out, as a later one, where there are labels alone."""

    def for_answers(self, *, labels_only: bool) -> Preset:
        """The preset, with all later stages, for this kind of answer."""
        if not labels_only:
            return self
        kept = self.without_scores_only()
        then = None if kept.then is None else kept.then.for_answers(labels_only=True)
        rule = self.rule if self.labels_rule is None else self.labels_rule
        return replace(kept, search=self.search if self.labels is None else self.labels, rule=rule, then=then)

    def without_scores_only(self) -> Preset:
        """The preset without its later stages that are `scores_only`."""
        later = None if self.then is None else self.then.without_scores_only()
        return replace(self, then=later.then if later is not None and later.scores_only else later)

    def takes(self, image_shape: tuple[int, int, int]) -> bool:
        """Whether the first search has something to look for on images of this shape, (C, H, W)."""
        return not isinstance(self.search, Choosy) or self.search.takes(image_shape)

    def on(self, image_shape: tuple[int, int, int]) -> Preset:
        """The preset without those later stages that have nothing to look for on images of this shape, (C, H, W)."""
        later = None if self.then is None else self.then.on(image_shape)
        if later is not None and not later.takes(image_shape):
            later = later.then
        return replace(self, then=later)

    def refining(self, refine: RefineConfig | None) -> Preset:
        """The preset with this refinement in each stage that has one, or in all where none has; None for none."""
        return self._refining(refine, every=all(stage.refine is None for stage in self.stages))

    def _refining(self, refine: RefineConfig | None, *, every: bool) -> Preset:
        then = None if self.then is None else self.then._refining(refine, every=every)
        return replace(self, refine=refine if every or self.refine is not None else None, then=then)

    @property
    def standing(self) -> Standing | None:
        """What a stage with a refinement asks of a refined trigger."""
        return next((stage.refine.standing for stage in self.stages if stage.refine is not None), None)

    @property
    def takes_turns(self) -> bool:
        """Whether some stage lets the next one go on before its own end."""
        return any(stage.turns is not None for stage in self.stages)

    def one_by_one(self) -> Preset:
        """The preset with each stage run to its end before the next one starts."""
        return replace(self, turns=None, then=None if self.then is None else self.then.one_by_one())

    @property
    def stages(self) -> tuple[Preset, ...]:
        """This preset and its later stages, in order."""
        return (self,) if self.then is None else (self, *self.then.stages)

    def warnings(self, image_shape: tuple[int, int, int]) -> tuple[str, ...]:
        """The warnings of the first search about images of this shape, (C, H, W), before the first query."""
        if not isinstance(self.search, Cautious):
            return ()
        return self.search.warnings(image_shape, alone=self.then is None)

    @property
    def only_sought(self) -> str | None:
        """The only kind of trigger that the first search looks for; None if it is not limited to one."""
        return self.search.only_sought if isinstance(self.search, Limited) else None

    def decision_rule(self) -> Rule:
        """The rule itself. Raises ConfigError if there is no rule of that name."""
        return self.rule if isinstance(self.rule, Rule) else rule(self.rule)


# By labels the masks of classes that never worked say nothing, so that no share of the median separates: clean tune
# victims have classes of a fifth of it. The size itself does.
_SMALL = replace(RULES["small_share"], threshold=1 / 32, source="32 of 32x32 pixels, chosen on tune victims")

_ANNEALING = AnnealingConfig()

# Chosen on tune victims: a thousand random images, and two steps of fixed length on 256 of them. This takes 4,900 to
# 5,800 queries for ten classes, where `b3d` needs 60,000 for a clean model. With 2,000 random images and no steps the
# verdicts were the same, but the masks of a clean model's classes were less similar.
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

# The rule is applied in every round, so that a patch that passed the race's own test is tried on unseen images at once.
_LOOKS = DriverConfig(check_images=32, verify_images=0, first_look=1, look_every=1, confirm_batch=4)

# Rounds of nine queries instead of 28, so that an answer counts in the ranking sooner, and a shorter test of its own,
# since unseen images test every patch again: by scores this finds tune victims with fewer queries, by labels it does
# not find all of them (docs/measured/race.md, "Small rounds"). An early end looks at as many queries as before.
_SMALL_ROUNDS = RaceConfig(
    fresh=1, children=4, retests=4, test=SequentialTest(alpha=0.1, beta=0.05), test_batch=2, clean_rounds=45
)

# With label-only answers a margin is 1 or -1, which says less of a patch than scores do.
_RACE = Preset(_SMALL_ROUNDS, "small_share", _LOOKS, labels=RaceConfig(queries=4700))

_REFINE = RefineConfig.within(500)

# `race` confirms patches of up to 4x4 pixels under a loose test, which some patches pass that turn images of clean
# models by nature. None of them gained from refinement, and patches of backdoors do (docs/measured/race.md,
# "Patches that work by nature").
_REFINE_AND_DOUBT = replace(_REFINE, standing=Standing())

# Large patches can turn images of clean models as well. Of 14 clean models of gtsrb-clean-40-calibrate, patches of up
# to 8x8 flagged 9 under a test of 0.95 against 0.8 and 3 under this one, patches of up to 6x6 none
# (benchmarks/family_variants.py, results/family-ablation.jsonl).
_STRICT = SequentialTest(works=0.98, fails=0.9, alpha=0.01, beta=0.01)
_WIDE = Preset(
    RaceConfig(
        patches=2,
        largest_share=9 / 256,
        size_penalty=1.28,
        required_trials=8,
        required_success=0.88,
        test=SequentialTest(works=0.95, fails=0.8, alpha=0.01, beta=0.01),
        queries=10_000,
    ),
    replace(RULES["small_share"], threshold=9 / 256, source="of the race, under a stricter test"),
    replace(_LOOKS, confirmation=_STRICT, confirm_batch=8),
    least_queries=200,
    refine=_REFINE,
)

# Each family has a limit and a test of its own, and the race lets nothing pass that is above the limit. Beside the
# others warps would get a fourth of the queries, and they want more (benchmarks/family_variants.py,
# results/family-ablation.jsonl). So they have a race of their own.
_FAMILIES = Preset(
    FamilyRaceConfig(warp=None, queries=2400),
    replace(RULES["small_share"], threshold=1.0, source="the limit of each family, and its test on unseen images"),
    replace(_LOOKS, confirm_batch=8),
    # fewer new candidates find blends and waves of tune victims sooner, and the restart leaves two whole tries
    labels=FamilyRaceConfig(warp=None, fresh=4, children=8, restart=1650, queries=3300),
    least_queries=60,
    refine=_REFINE,
)
# Few new candidates in a round find the same victims sooner, and so does a mean of few answers that is shrunk as by one
# answer of value 0: with less, one lucky answer outranks several good ones, and lucky candidates have the children.
_ONLY_WARPS = FamilyRaceConfig(
    patch=None, wave=None, blend=None, fresh=4, children=8, shrinkage=1.0, leap=LeapConfig(each=8), queries=2700
)
_WARPS = replace(_FAMILIES, search=_ONLY_WARPS, labels=replace(_ONLY_WARPS, queries=3500))

_PICTURES = replace(_FAMILIES, search=PictureRaceConfig(), labels=PictureRaceConfig(first=500, queries=1800))

# With patches of up to 8x8 pixels it flagged a clean model of drawn shapes (docs/measured/larger-patches.md). By labels
# there is little to climb along, and the other stages of `auto` find more.
_MOSAICS = replace(_FAMILIES, search=MosaicRaceConfig(), labels=None)

# The lengths of the stages of `auto` sum to 8,380 by scores, of which the mosaics leave some 450, and to 9,900 by
# labels: what each found alone on `tune` victims says what its last queries are worth (docs/measured/auto.md, "How long
# each stage is"). The mosaics run at one go once the others had their first turns: they find small patches too, for
# some 1,250 queries. On small images they would look for hardly more than `race` does. By scores the pictures have one
# turn.
_AUTO_MOSAICS = replace(_MOSAICS, search=MosaicRaceConfig(whole_from=24), scores_only=True)
_AUTO_PICTURES = replace(_PICTURES, search=PictureRaceConfig(queries=1300), turns=Turns((1300,)), then=_AUTO_MOSAICS)
_AUTO_WARPS = replace(
    _WARPS,
    search=replace(_ONLY_WARPS, queries=2400),
    labels=replace(_ONLY_WARPS, queries=3300),
    turns=Turns((1300,)),
    then=_AUTO_PICTURES,
)
_AUTO_FAMILIES = replace(
    _FAMILIES,
    search=FamilyRaceConfig(warp=None, queries=1330),
    labels=FamilyRaceConfig(warp=None, fresh=4, children=8, restart=1300, queries=2600),
    turns=Turns((1200,)),
    then=_AUTO_WARPS,
)
_AUTO = replace(
    _RACE,
    search=replace(_SMALL_ROUNDS, queries=1150),
    driver=replace(_LOOKS, check_batch=8),
    labels=RaceConfig(queries=2200),
    turns=Turns((1000,)),
    then=_AUTO_FAMILIES,
    refine=_REFINE,
).refining(_REFINE_AND_DOUBT)

# Of three source-specific tune victims this test confirms the pair of two, within some 500 queries of their source, and
# no pair of 22 clean models of CIFAR-10. Clean models of GTSRB have pairs that pass it, so that it gives no verdict
# (results/sources.jsonl).
_SOURCES = Preset(
    SourceRaceConfig(),
    "small_share",
    replace(_LOOKS, confirmation=SequentialTest(works=0.98, fails=0.9, alpha=0.02, beta=0.02), confirm_batch=8),
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        # what each is called and does is said in simkit.detectors.registry
        # the estimators of the slides with the default constants of B3DConfig, which names their sources
        "b3d-slides": Preset(B3DConfig(), "below_median"),
        "b3d": Preset(B3D, "below_median", labels=B3D_LABELS, labels_rule=_SMALL, refine=_REFINE),
        # B3D-SS: such a search on images that it synthesises itself
        "b3d-ss": Preset(B3D_50, "below_median", labels=B3D_LABELS_100, synthesis=_SYNTHESIS),
        "race": _RACE,
        "race-wide": _WIDE,
        "race-families": _FAMILIES,
        "race-warps": _WARPS,
        "race-pictures": _PICTURES,
        "race-mosaics": _MOSAICS,
        "race-sources": _SOURCES,
        # the default: the search that finds the most first, and each waits for the others where it finds little more
        "auto": _AUTO,
        "random-patch": Preset(RandomPatchConfig(), "small_patch", DriverConfig(first_look=10, look_every=5)),
        "annealing": Preset(
            _ANNEALING,
            "small_patch",
            DriverConfig(first_look=10, look_every=5),
            # with label-only answers a margin is 1 or -1, and this steepness makes the objective the success rate
            labels=replace(_ANNEALING, steepness=20.0),
        ),
    }
)


def preset(name: str) -> Preset:
    """The preset of that name. Raises ConfigError if there is none."""
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}{likely(name, PRESETS)}")
    return PRESETS[name]


def rule(name: str) -> Rule:
    """The decision rule of that name. Raises ConfigError if there is none."""
    if name not in RULES:
        raise ConfigError(f"no rule {name!r}{likely(name, RULES)}")
    return RULES[name]
