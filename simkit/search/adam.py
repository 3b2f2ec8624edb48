"""Adam (Kingma and Ba, 2015), with the operations of torch.optim.Adam in their order, so that equal to the last bit.

The first step of one of torch's optimisers imports torch._dynamo, which takes longer than all of torch before it.
"""

from __future__ import annotations

from simkit.triggers import FloatArray

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
"""The defaults of the paper and of torch."""


class Adam:
    """Moves one array, in place. value: float32 of any shape. learning_rate: above 0."""

    def __init__(self, value: FloatArray, learning_rate: float) -> None:
        import torch  # slow to import; a search is configured without it

        self._value = torch.from_numpy(value)
        self._mean, self._square = torch.zeros_like(self._value), torch.zeros_like(self._value)
        self._learning_rate, self._steps = learning_rate, 0

    def step(self, gradient: FloatArray) -> None:
        """One step against `gradient`, float32 of the array's shape."""
        import torch

        slope, (first, second) = torch.from_numpy(gradient), _BETAS
        self._steps += 1
        self._mean.lerp_(slope, 1 - first)
        self._square.mul_(second).addcmul_(slope, slope, value=1 - second)
        scale = (self._square.sqrt() / (1 - second**self._steps) ** 0.5).add_(_EPSILON)
        self._value.addcdiv_(self._mean, scale, value=-self._learning_rate / (1 - first**self._steps))
