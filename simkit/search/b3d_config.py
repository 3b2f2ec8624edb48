"""The settings of B3D; the defaults are the preset `slides`, each constant with its source.

The slides state the estimators and no constant. Sources: *implementations*: three or more unofficial ones agree, and
one of them ascribes the number to the paper's appendix; *one implementation*: a single one has it; *ours*: chosen here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from simkit.errors import ConfigError
from simkit.search.contract import Search, Task
from simkit.search.sparsity import SparsityConfig

Baseline: TypeAlias = Literal["none", "leave_one_out"]


@dataclass(frozen=True)
class B3DConfig:
    """One B3D search over all classes.

    samples: candidates a step and estimator, k of the slides. images: search images each candidate is stamped on.
    steps: updates of every class. sigma: noise of the pattern's search distribution. learning_rate: Adam's, betas
    (0.9, 0.999). mask_init: first theta_m; g(-1.14) = 0.093. grid: super-pixels along the longer side of the mask, each
    of one or more whole pixels; None: one a pixel.
    baseline: what is taken from every loss before it is averaged. joint: mask and pattern are sampled together and one
    loss serves both gradients; else one half of the queries goes to each, as on the slides. antithetic: the pattern's
    noise comes in pairs of opposite sign. exact_sparsity: the gradient of the sparsity term is added in closed form
    instead of being sampled.
    mask_limit: bound on |theta_m|, which keeps every super-pixel in play; None for no bound.
    check_every: steps between two looks at the binarised trigger, check_images: images of such a look.
    required_success: share of those images that must be hit for a trigger to count.
    """

    known_as: ClassVar[str] = "simkit.search.b3d_config.B3DConfig"  # in run keys and ledgers, wherever this class lives

    samples: int = 50  # implementations
    images: int = 128  # implementations: their batch
    steps: int = 1000  # one implementation
    sigma: float = 0.1  # implementations
    learning_rate: float = 0.05  # implementations
    mask_init: float = -1.14  # one implementation
    mask_limit: float | None = None
    grid: int | None = None
    baseline: Baseline = "none"
    joint: bool = False
    antithetic: bool = False
    exact_sparsity: bool = False
    check_every: int = 10  # ours
    check_images: int = 20  # ours
    required_success: float = 0.95  # ours; the implementations have 0.99 of more images
    sparsity: SparsityConfig = field(default_factory=SparsityConfig)

    def __post_init__(self) -> None:
        counts = (self.samples, self.images, self.steps, self.check_every, self.check_images)
        if min(*counts, 1 if self.grid is None else self.grid) < 1:
            raise ConfigError("samples, images, steps, grid and checks of B3D must be 1 or more")
        if self.sigma <= 0 or self.learning_rate <= 0 or not 0 < self.required_success <= 1:
            raise ConfigError("sigma and learning_rate must be above 0, required_success in (0, 1]")
        if self.mask_limit is not None and self.mask_limit < abs(self.mask_init):
            raise ConfigError(f"mask_limit {self.mask_limit} lies inside mask_init {self.mask_init}")
        if self.antithetic and self.samples % 2:
            raise ConfigError(f"antithetic noise needs an even number of samples, not {self.samples}")
        if self.baseline == "leave_one_out" and self.samples < 4:
            raise ConfigError(f"a leave-one-out baseline needs 4 samples or more, not {self.samples}")

    def search(self, task: Task, seed: int) -> Search:
        """See `SearchConfig`. Raises ConfigError if all search images are of one class."""
        from simkit.search.b3d import B3D  # it is built from these settings: at the top the import would be a circle

        return B3D(self, task, seed)

    def tile(self, image_shape: tuple[int, int, int]) -> int:
        """Pixels along the side of one super-pixel of the mask."""
        return 1 if self.grid is None else max(1, round(max(image_shape[1:]) / self.grid))
