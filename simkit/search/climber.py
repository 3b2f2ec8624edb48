"""The questions by which single tiles climb: other places and sizes, other colours, and parts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from simkit.search.climb import ClimbConfig, along, moved, noise
from simkit.search.collages import Collage
from simkit.search.places import places, windows
from simkit.search.trails import Asking, Steps, Trail, best

_CHOSEN_ON = 32
"""Side of the images, in pixels, on which the moves to other places were chosen; on larger ones they are longer."""


@dataclass(frozen=True)
class Climber:
    """How tiles climb. grain: that of their colours, in pixels. widest: the largest side of a tile, in pixels."""

    config: ClimbConfig
    asking: Asking
    grain: int
    widest: int

    def placed(self, trails: Sequence[Trail]) -> Steps[list[Trail]]:
        """The best tiles, each at the place and with the size at which its margin is the highest; best first."""
        shape, kept = self.asking.task.image_shape, list(trails)
        for count, by, images in self.config.places:
            kept, pixels = kept[:count], max(1, round(by * min(shape[1:]) / _CHOSEN_ON))
            tried = [places(trail.collage, pixels, self.widest, shape) for trail in kept]
            kept = yield from self._chosen(kept, tried, images)
        return kept

    def risen(self, trails: Sequence[Trail], pairs: int) -> Steps[list[Trail]]:
        """Each after the best step along the slope of its colours, for which `pairs` pairs of answers are asked."""
        config, rng = self.config, self.asking.rng
        drawn = [[noise(trail.collage, self.grain, rng) for _ in range(pairs)] for trail in trails]
        tried = [
            (moved(trail.collage, sign * config.sigma * values), trail.target)
            for trail, own in zip(trails, drawn, strict=True)
            for values in own
            for sign in (1.0, -1.0)
        ]
        seen = yield from self.asking.tried(tried, 1, in_row=2)
        answers = np.array([mean for mean, _ in seen]).reshape(len(trails), pairs, 2)
        sloped = []
        for trail, own, (up, down) in zip(trails, drawn, np.moveaxis(answers, 2, 1), strict=True):
            slope = (up - down) @ np.stack(own) + config.memory * (0.0 if trail.slope is None else trail.slope)
            sloped.append(replace(trail, slope=slope, value=float((up + down).mean() / 2)))
        return (yield from self._chosen(sloped, [self._stepped(trail) for trail in sloped], config.compared))

    def cut(self, trail: Trail, side: int) -> Steps[Trail]:
        """The trail with its tile cut to `side` x `side` pixels where that leaves the highest margin."""
        tile = trail.collage.patches[0]
        if max(tile.height, tile.width) <= side:
            return trail
        (trail,) = yield from self._chosen([trail], [windows(trail.collage, side)], self.config.compared)
        return replace(trail, slope=None)

    def _stepped(self, trail: Trail) -> list[Collage]:
        assert trail.slope is not None
        return [along(trail.collage, trail.slope, step) for step in self.config.steps]

    def _chosen(self, trails: Sequence[Trail], options: Sequence[Sequence[Collage]], images: int) -> Steps[list[Trail]]:
        """Each with that of its options, equally many for all, which has the highest mean margin on the same images.

        Where there is one option only, nothing is asked.
        """
        if not trails or len(options[0]) == 1:
            return best(replace(t, collage=own[0]) for t, own in zip(trails, options, strict=True))
        asked = [(one, trail.target) for trail, own in zip(trails, options, strict=True) for one in own]
        seen = yield from self.asking.tried(asked, images, in_row=len(options[0]))
        means = np.array([mean for mean, _ in seen]).reshape(len(trails), -1)
        return best(
            replace(trail, collage=own[int(row.argmax())], value=float(row.max()))
            for trail, own, row in zip(trails, options, means, strict=True)
        )
