"""Waves: sine waves that are added to the image, x' = clip(x + sum of a sin(2 pi (u X + v Y) + phase), 0, 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from simkit.errors import ConfigError
from simkit.transforms.breeding import kept, some_strength
from simkit.transforms.contract import ImageShape, check_images, described
from simkit.transforms.stored import image_shape_of, number, parts_of
from simkit.triggers import FloatArray
from simkit.verdict import SequentialTest


@dataclass(frozen=True)
class Wave:
    """One sine wave. cycles: per image width and per image height. phase: radians. amplitudes: one per channel."""

    cycles: tuple[float, float]
    phase: float
    amplitudes: tuple[float, ...]

    @property
    def amplitude(self) -> float:
        """The largest amplitude of a channel."""
        return max(map(abs, self.amplitudes))

    def scaled(self, amplitude: float) -> Wave:
        """The wave with this largest amplitude."""
        return replace(self, amplitudes=tuple(a * amplitude / self.amplitude for a in self.amplitudes))


@dataclass(frozen=True)
class Waves:
    """A trigger of one or more waves that are added together; satisfies `Transform`."""

    image_shape: ImageShape
    waves: tuple[Wave, ...]

    family: ClassVar[str] = "wave"
    unit: ClassVar[str] = "of 255"

    @property
    def mask_size(self) -> float:
        """See `Transform`: all pixels."""
        return float(self.image_shape[1] * self.image_shape[2])

    @property
    def strength(self) -> float:
        """The sum of the waves' largest amplitudes, in steps of 1/255."""
        return 255.0 * sum(wave.amplitude for wave in self.waves)

    @property
    def words(self) -> str:
        """See `Transform`; with the cycles of each wave."""
        cycles = sorted(math.hypot(*wave.cycles) for wave in self.waves)
        return described(self, f"{' and '.join(f'{c:.1f}' for c in cycles)} cycles")

    @cached_property
    def added(self) -> FloatArray:
        """What is added to every image, float32 (C, H, W)."""
        _, height, width = self.image_shape
        across, down = np.arange(width) / width, np.arange(height)[:, None] / height
        total = np.zeros(self.image_shape)
        for wave in self.waves:
            angle = 2.0 * np.pi * (wave.cycles[0] * across + wave.cycles[1] * down) + wave.phase
            total += np.array(wave.amplitudes)[:, None, None] * np.sin(angle)
        return total.astype(np.float32)

    @property
    def as_patch(self) -> None:
        """See `Transform`: it has no mask."""

    @property
    def arrows(self) -> None:
        """See `Transform`: it moves nothing."""

    def on(self, images: FloatArray) -> FloatArray:
        """See `Transform`."""
        check_images(images, self.image_shape)
        with_waves: FloatArray = np.clip(images + self.added, np.float32(0.0), np.float32(1.0))
        return with_waves

    def copied(self) -> Waves:
        """See `Transform`; nothing here can be changed."""
        return self

    def to_json(self) -> dict[str, Any]:
        """See `Transform`."""
        waves = [{"cycles": [*w.cycles], "phase": w.phase, "amplitudes": [*w.amplitudes]} for w in self.waves]
        return {"family": self.family, "image_shape": [*self.image_shape], "waves": waves}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Waves:
        """The trigger that `to_json` wrote. Raises KeyError, TypeError or ValueError where it is none."""
        shape = image_shape_of(fields)
        return cls(shape, tuple(_wave(each, shape[0]) for each in parts_of(fields, "waves")))


def _wave(fields: Mapping[str, Any], channels: int) -> Wave:
    across, down = map(number, fields["cycles"])
    amplitudes = tuple(map(number, fields["amplitudes"]))
    if len(amplitudes) != channels or not 0.0 < max(map(abs, amplitudes)) <= 1.0:
        raise ValueError(f"a wave needs {channels} amplitudes in [-1, 1], one of them not 0")
    return Wave((across, down), number(fields["phase"]), amplitudes)


@dataclass(frozen=True)
class WaveFamily:
    """How a race draws waves, and what it demands of them (prototype)."""

    name: str = "wave"
    """The name of the family."""
    largest_amplitude: float = 40 / 255
    """The cap: largest sum of the amplitudes of a trigger."""
    least_cycles: float = 1.0
    """Least cycles per image of a fresh wave."""
    most_cycles: float = 7.5
    """Most cycles per image; finer waves turn the images of clean models too."""
    parts: int = 3
    """Waves in a fresh candidate."""
    required_success: float = 0.88
    """See `Family`."""
    required_trials: int = 8
    """See `Family`."""
    screen: SequentialTest = field(default_factory=lambda: SequentialTest(0.97, 0.8, 0.02, 0.02))
    """See `Family`."""
    test: SequentialTest = field(default_factory=lambda: SequentialTest(0.98, 0.9, 0.02, 0.02))
    """See `Family`."""

    def __post_init__(self) -> None:
        if not 0 < self.largest_amplitude <= 1 or not 0 < self.least_cycles <= self.most_cycles or self.parts < 1:
            raise ConfigError("waves need an amplitude in (0, 1], 0 < least_cycles <= most_cycles, and parts >= 1")

    def from_json(self, fields: Mapping[str, Any]) -> Waves:
        """See `Family`."""
        return Waves.from_json(fields)

    def breeder(self, image_shape: ImageShape) -> WaveBreeder:
        """See `Family`."""
        return WaveBreeder(self, image_shape)


@dataclass(frozen=True)
class WaveBreeder:
    """Draws and mutates waves for images of one shape; satisfies `Breeder`."""

    config: WaveFamily
    image_shape: ImageShape

    def fresh(self, rng: np.random.Generator) -> Waves:
        """Waves of random direction, colour and phase, each with the largest amplitude."""
        return Waves(self.image_shape, tuple(self._wave(rng) for _ in range(self.config.parts)))

    def child(self, parent: Waves, mates: Sequence[Waves], rng: np.random.Generator) -> Waves:
        """A half of the parent's waves, or all of them mutated."""
        if (half := kept(len(parent.waves), rng)) is not None:
            return Waves(self.image_shape, tuple(parent.waves[i] for i in half))
        amplitude = self.config.largest_amplitude * (some_strength(rng) if len(parent.waves) == 1 else 1.0)
        return Waves(self.image_shape, tuple(self._mutant(wave, rng).scaled(amplitude) for wave in parent.waves))

    def transform(self, candidate: Waves) -> Waves:
        """See `Breeder`."""
        return candidate

    def share(self, candidate: Waves) -> float:
        """See `Breeder`: the strength in multiples of the largest amplitude."""
        return candidate.strength / (255.0 * self.config.largest_amplitude)

    def _wave(self, rng: np.random.Generator) -> Wave:
        low, high = np.log(self.config.least_cycles), np.log(self.config.most_cycles)
        cycles = float(np.exp(rng.uniform(low, high)))
        kind = rng.random()
        angle = 0.0 if kind < 0.3 else np.pi / 2 if kind < 0.6 else float(rng.uniform(0.0, np.pi))
        across, down = cycles * math.cos(angle), cycles * math.sin(angle)
        return Wave((across, down), float(rng.uniform(0.0, 2 * np.pi)), self._colour(rng))

    def _colour(self, rng: np.random.Generator) -> tuple[float, ...]:
        channels = self.image_shape[0]
        grey = rng.random() < 0.5
        colour = np.full(channels, rng.choice([-1.0, 1.0])) if grey else rng.uniform(-1.0, 1.0, channels)
        return self._normal(colour)

    def _normal(self, colour: Any) -> tuple[float, ...]:
        largest = max(float(np.abs(colour).max()), 1e-6)
        return tuple(float(c) * self.config.largest_amplitude / largest for c in colour)

    def _mutant(self, wave: Wave, rng: np.random.Generator) -> Wave:
        cycles, phase = np.array(wave.cycles), wave.phase
        if rng.random() < 0.6:
            cycles = cycles + rng.normal(0.0, 0.5, 2)
            cycles *= min(1.0, self.config.most_cycles / max(float(np.hypot(*cycles)), 1e-6))
        if rng.random() < 0.4:
            phase = float(phase + rng.normal(0.0, 0.7))
        colour = np.array(wave.amplitudes) / self.config.largest_amplitude
        if rng.random() < 0.4:
            colour = colour + rng.normal(0.0, 0.4, len(colour))
        return Wave((float(cycles[0]), float(cycles[1])), phase, self._normal(colour))
