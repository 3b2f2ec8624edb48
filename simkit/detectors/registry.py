"""The detectors that come with simkit: names, titles, descriptions, abilities, and names in earlier versions.

This module imports none of the detectors, so that help texts and tables read it without torch. A detector of your own
needs no entry here; it is named `module:NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

Access: TypeAlias = Literal["QueryAccess", "QueryDataAccess", "WeightAccess", "ModelAccess", "TrainingDataAccess"]
"""The name of a class in `simkit.detectors.access`: queries; queries and clean images; weights and clean images;
weights alone; weights and training images."""


@dataclass(frozen=True)
class Entry:
    """One detector, or one preset of a scan."""

    name: str
    """The name on the command line, in studies and in lines of results."""
    title: str
    """The title in tables and figures."""
    about: str
    """What it does, as one sentence without its subject."""
    access: Access = "QueryDataAccess"
    """What it may use."""
    made: str | None = None
    """`module:NAME` of its class, or of a mapping with an entry `schedule`; None for a preset of `simkit scan`."""
    schedule: str | None = None
    """Its key in that mapping."""
    staged: bool = False
    """Whether a second search follows if the first ends without a detection."""
    triggers: bool = True
    """Whether it returns triggers."""
    whole_test: bool = False
    """Whether it runs its complete test or none, so that its verdict holds for every larger budget."""
    labels: bool = True
    """Whether labels suffice; if not, it is `undecided` behind a label-only service."""
    former_names: tuple[str, ...] = ()
    """Its names in ledgers and lines of results of earlier versions."""

    @property
    def preset(self) -> bool:
        """Whether it is a preset of `simkit scan`."""
        return self.made is None


_NEURAL_CLEANSE = "simkit.detectors.whitebox.neural_cleanse:PRESETS"
_TABOR = "simkit.detectors.whitebox.tabor:PRESETS"
_CLUSTERING = "simkit.detectors.whitebox.activation_clustering:PRESETS"

_ENTRIES = (
    Entry(
        "neural-cleanse-reference",
        "Neural Cleanse (reference)",
        "reverses a trigger of every class by gradients, with the authors' schedule",
        access="WeightAccess",
        made=_NEURAL_CLEANSE,
        schedule="reference",
    ),
    Entry(
        "neural-cleanse-quick",
        "Neural Cleanse (quick)",
        "reverses a trigger of every class by gradients, with a shorter schedule",
        access="WeightAccess",
        made=_NEURAL_CLEANSE,
        schedule="quick",
    ),
    Entry(
        "tabor-reference",
        "TABOR (reference)",
        "reverses triggers by gradients under TABOR's regularisers, with the weights of a public implementation",
        access="WeightAccess",
        made=_TABOR,
        schedule="reference",
    ),
    Entry(
        "tabor-quick",
        "TABOR (quick)",
        "reverses triggers by gradients under TABOR's regularisers, with weights of our own",
        access="WeightAccess",
        made=_TABOR,
        schedule="quick",
    ),
    Entry(
        "neural-cleanse-data-free",
        "Neural Cleanse without data",
        "reverses triggers by gradients on images that it makes from the weights",
        access="ModelAccess",
        made="simkit.detectors.whitebox.data_free_cleanse:DataFreeCleanse",
    ),
    Entry(
        "activation-clustering-reference",
        "Activation clustering (reference)",
        "looks for poisoned training images as small clusters of their class, with published thresholds",
        access="TrainingDataAccess",
        made=_CLUSTERING,
        schedule="reference",
        triggers=False,
    ),
    Entry(
        "activation-clustering-tuned",
        "Activation clustering (tuned)",
        "looks for poisoned training images as clusters far from the rest of their class, with a threshold of our own",
        access="TrainingDataAccess",
        made=_CLUSTERING,
        schedule="tuned",
        triggers=False,
    ),
    Entry(
        "auto",
        "Races in turns",
        "runs race, race-families, race-warps, race-pictures and, by scores, race-mosaics in turns",
        staged=True,
    ),
    Entry("race", "Race of patches", "races collages of small patches for all classes at once"),
    Entry(
        "race-families",
        "Race of families",
        "races waves, blends and large patches for all classes at once",
    ),
    Entry("race-warps", "Race of warps", "races smooth warps for all classes at once"),
    Entry("race-pictures", "Race of pictures", "races smooth pictures that are blended in for all classes at once"),
    Entry(
        "race-mosaics",
        "Race of mosaics",
        "tries many large tiles at once, and climbs from the best of them to patches of up to 6x6 of 32x32 pixels",
    ),
    Entry(
        "race-sources",
        "Race for each source class",
        "races patches on images of one class at a time, and names suspicious pairs without a verdict of backdoored",
    ),
    Entry("race-wide", "Race of large patches", "races patches of up to 6x6 of 32x32 pixels"),
    Entry("b3d", "B3D", "estimates gradients of mask and pattern from queries", former_names=("efficient",)),
    Entry(
        "b3d-slides",
        "B3D (as its slides print it)",
        "is B3D with the estimators and settings of its authors' slides",
        former_names=("slides",),
    ),
    Entry("b3d-ss", "B3D-SS", "is B3D on images that it makes by queries, without data", access="QueryAccess"),
    Entry("random-patch", "Random patches", "tries small random patches and repeats the best"),
    Entry("annealing", "Annealing (DeBackdoor-like)", "anneals one rectangular patch for each class in turn"),
    Entry(
        "label-noise",
        "Label noise (CBD-like)",
        "compares how often noisy images are taken for each class",
        made="simkit.detectors.blackbox.label_noise:LabelNoise",
        triggers=False,
        whole_test=True,
    ),
    Entry(
        "aeva",
        "AEVA (for labels)",
        "compares the largest pixels of label-only adversarial perturbations",
        made="simkit.detectors.blackbox.aeva:Aeva",
        triggers=False,
        whole_test=True,
    ),
    Entry(
        "k-arm",
        "K-Arm's pre-screen",
        "looks for classes that clean images are drawn to, as K-Arm's pre-screening does",
        made="simkit.detectors.blackbox.k_arm:KArm",
        triggers=False,
        labels=False,
        whole_test=True,
    ),
)

DETECTORS: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Detectors by name, in the order of tables and figures."""

REPAIRS: Mapping[str, Entry] = MappingProxyType(
    {
        "fine-pruning": Entry(
            "fine-pruning",
            "Fine-pruning",
            "prunes channels that clean images hardly activate, and trains the model on these images",
            access="WeightAccess",
            made="simkit.fine_pruning:FinePruning",
            triggers=False,
        )
    }
)
"""What repairs a model instead of deciding about it, by name; each class has a method `repair`."""

TITLES: Mapping[str, str] = MappingProxyType({entry.name: entry.title for entry in _ENTRIES})
"""Titles by name; a detector that is not listed here is shown by its name."""

_CURRENT = {former: entry.name for entry in _ENTRIES for former in entry.former_names}


def needs_more_than_labels(detector: object) -> Entry | None:
    """The entry of this detector, an instance of its class, if labels do not suffice for it."""
    made = f"{type(detector).__module__}:{type(detector).__qualname__}"
    return next((entry for entry in _ENTRIES if entry.made == made and not entry.labels), None)


def current_name(name: str) -> str:
    """The current name of a preset or detector that is named in a stored file."""
    return _CURRENT.get(name, name)


def current_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a stored run or line, with the current name of its preset if it has one."""
    preset = config.get("preset")
    return dict(config) | ({"preset": current_name(preset)} if isinstance(preset, str) else {})


def searched_by(config: Mapping[str, Any]) -> str | None:
    """The preset or the detector in a run's config; None where it names neither."""
    detector = config.get("detector")
    if isinstance(detector, dict):
        return str(detector.get("kind", "unknown")).rpartition(".")[2]
    preset = config.get("preset")
    return None if preset is None else current_name(str(preset))


def preset_help() -> str:
    """The presets with what each does, for the help text of `--preset`."""
    sentences = [f"{entry.name} {entry.about}" for entry in _ENTRIES if entry.preset]
    return f"{'; '.join(sentences)}; or your own as MODULE:NAME."
