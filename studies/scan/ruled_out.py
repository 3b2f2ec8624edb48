"""What a clean verdict rules out: the triggers that each search looked for, and the share of them that it misses.

The share is measured on victims of the split `tune` (`studies.scan.measured`). Where nothing was measured with these
settings and answers, none is stated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Protocol, runtime_checkable

from simkit.data.images import ImageShape
from simkit.search.contract import Narrower, SearchConfig
from simkit.search.needs import OfSources
from simkit.search.presets import PRESETS, Preset
from simkit.transforms.breeding import Family
from simkit.transforms.families import FAMILIES
from simkit.verdict import Rule
from studies.render.formats import pixel_words
from studies.scan.canonical import digest
from studies.scan.config import ScanConfig
from studies.scan.measured import MEASURED
from studies.scan.measurement import Measurement, in_effect
from studies.scan.withheld import answers_of
from studies.statistics import share

_IMAGES = ("search_images", "verify_images")
"""Settings with which nothing was measured but their defaults."""


@runtime_checkable
class OfFamilies(Protocol):
    """Settings of a search for several families of triggers."""

    def families_on(self, image_shape: ImageShape) -> tuple[Family, ...]:
        """The families that take part on images of this shape, (C, H, W), in order."""
        ...


@runtime_checkable
class OfPatches(Protocol):
    """Settings of a search for patches of up to some size."""

    def largest_area(self, image_shape: ImageShape) -> int:
        """The pixels of the largest patch on images of this shape, (C, H, W)."""
        ...


_UNITS = {
    "share": " of the image's area",
    "amplitude": " of the range of a pixel",
    "alpha": " of every pixel",
    "shift": " of the image's shorter side, averaged over the pixels",
}
"""What the limits of the families that come with simkit are shares of."""


def ruled_out(config: ScanConfig, image_shape: ImageShape, *, local: bool) -> tuple[Mapping[str, Any], ...]:
    """One entry per search and family of a scan whose searches all came to their end, as plain values.

    stage: name of the search. family: of triggers, None where a search of the user's own does not state it. sought: the
    triggers that the verdict could have flagged. victims: backdoored `tune` victims with such triggers, 0 where the
    search was not measured; then missed, low and high (the 95 % Wilson interval of the share missed) are None. zoos:
    those of the victims. local: whether the model is run here, so that its answers are all scores unless the settings
    restrict them.
    """
    course = config.course(image_shape)
    changed = not local or config.restriction is not None or bool(config.driver)
    if any(getattr(config, name) != ScanConfig.model_fields[name].default for name in _IMAGES):
        changed = True
    staged = config.resolved().then is not None
    names = config.stage_names(image_shape) if staged else (config.preset_name,)
    answers = None if changed else answers_of(config.oracle)
    known = [found for found in MEASURED if (found.answers, found.size) == (answers, image_shape[1:])]
    entries = (
        _entry(name, sought, _measured(stage, course.rule_of(number), known))
        for number, (name, stage) in enumerate(zip(names, course.stages, strict=True))
        for sought in _sought(stage, course.rule_of(number), image_shape)
    )
    return tuple(entries)


def in_words(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence per search and family, and one about the families that no search looked for."""
    told = [f"{entry['stage']} searched for {entry['sought']}; {_missed(entry)}" for entry in entries]
    families = {entry["family"] for entry in entries}
    others = [name for name in FAMILIES if name not in families]
    return told + ([f"no search looked for triggers that are a {' or '.join(others)}"] if told and others else [])


def _missed(entry: Mapping[str, Any]) -> str:
    if not entry["victims"]:
        return "what share of such backdoors it misses is not measured"
    low, high = (round(100 * entry[end]) for end in ("low", "high"))
    return (
        f"of {entry['victims']} such backdoors it missed {entry['missed']} ({low} to {high} %, measured on "
        f"{', '.join(entry['zoos'])})"
    )


def _sought(stage: Preset, rule: Rule, image_shape: ImageShape) -> Iterator[tuple[str | None, str]]:
    """Each family of a search with the triggers of it that could have been flagged, as part of a sentence."""
    if isinstance(stage.search, OfFamilies):
        for family in stage.search.families_on(image_shape):
            limit = [f"{name} {value:.3g}{_UNITS.get(name, '')}" for name, value in _limits(family)]
            less = f", {stage.search.narrower(image_shape)}" if isinstance(stage.search, Narrower) else ""
            yield family.name, f"{family.name} triggers" + (f" up to {', '.join(limit)}" if limit else "") + less
    elif type(stage.search) in {type(known.search) for preset in PRESETS.values() for known in preset.stages}:
        only = " that turn images of one class only" if isinstance(stage.search, OfSources) else ""
        yield "patch", _patches(stage.search, rule, image_shape) + only
    else:
        yield None, "what it states itself"


def _limits(family: Any) -> Iterator[tuple[str, float]]:
    for field in fields(family):
        value = getattr(family, field.name)
        if field.name.startswith("largest_") and isinstance(value, int | float):
            yield field.name.removeprefix("largest_"), value


def _patches(search: SearchConfig, rule: Rule, image_shape: ImageShape) -> str:
    """What the search looks for and the rule can flag, whichever is smaller."""
    most = f"patches of up to {pixel_words(_largest(search, rule, image_shape))}"
    limits = {
        "small_patch": most,
        "small_share": most,
        "below_median": f"patches below {rule.threshold:g} of the median size over the classes",
        "anomaly_index": f"patches {rule.threshold:g} deviations below the median size over the classes",
    }
    return limits.get(rule.name, f"patches that the rule {rule.name} flags")


def _largest(search: SearchConfig, rule: Rule, image_shape: ImageShape) -> float:
    """The pixels of the largest patch that the search looks for and the rule can flag, as far as both say a limit."""
    area = image_shape[1] * image_shape[2]
    most = search.largest_area(image_shape) if isinstance(search, OfPatches) else area
    limits = {"small_patch": rule.threshold, "small_share": max(int(rule.threshold * area), 1)}
    return min(limits.get(rule.name, most), most)


def largest_patch(stage: Preset, rule: Rule, image_shape: ImageShape) -> float:
    """The pixels of the largest patch that a stage could flag on images of this shape; 0 where it looks for none."""
    if not isinstance(stage.search, OfFamilies):
        return _largest(stage.search, rule, image_shape)
    area = image_shape[1] * image_shape[2]
    families = (family for family in stage.search.families_on(image_shape) if family.name == "patch")
    shares = [value for family in families for name, value in _limits(family) if name == "share"]
    # a share that was made of whole pixels gives these again
    return max((max(int(value * area + 1e-6), 1) for value in shares), default=0)


def _entry(name: str, sought: tuple[str | None, str], measured: Sequence[Measurement]) -> Mapping[str, Any]:
    """measured: what was counted of this search, at most one per family."""
    family, words = sought
    found = next((one for one in measured if one.family == family), None)
    missed = None if found is None else share(found.missed, found.victims)
    return {
        **{"stage": name, "family": family, "sought": words},
        "victims": 0 if found is None else found.victims,
        "missed": None if found is None else found.missed,
        "low": None if missed is None else missed.low,
        "high": None if missed is None else missed.high,
        "zoos": [] if found is None else list(found.zoos),
    }


def _measured(stage: Preset, rule: Rule, known: Sequence[Measurement]) -> list[Measurement]:
    """Those of exactly this search and rule."""
    settings = digest(in_effect(asdict(stage.search)))  # type: ignore[call-overload]
    sought = (type(stage.search).__name__, settings, rule.name, rule.threshold)
    return [found for found in known if (found.search, found.settings, found.rule, found.limit) == sought]
