r"""The stages of `auto`, each by itself with the length that it has there, as detectors of your own.

simkit study scan ZOO --data DATA --budget 20000 --detector benchmarks.auto_stages:WARPS --out results/auto-stages.jsonl
"""

from __future__ import annotations

from dataclasses import replace

from simkit.search.presets import Preset, preset


def alone(stage: Preset) -> Preset:
    """A stage without turns, without the later ones, and without refinement."""
    return replace(stage, then=None, turns=None, refine=None)


RACE, FAMILIES, WARPS, PICTURES, MOSAICS = map(alone, preset("auto").stages)
"""The races of small patches, of several families, of warps, of pictures and of mosaics."""
