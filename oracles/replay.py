"""Answers that are already in a ledger, then the live oracle: how a killed scan goes on without paying again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import torch

from oracles.answers import Answer, IntArray, decode
from oracles.errors import ReplayMismatch
from oracles.oracle import Oracle, Tag, Wrapper, check_shape


class StoredCall(Protocol):
    """One call as a ledger keeps it; `step` is the id of its step, None for `external`."""

    @property
    def step(self) -> int | None: ...

    @property
    def rows(self) -> IntArray: ...

    @property
    def codec(self) -> str: ...

    @property
    def answers(self) -> bytes: ...


class Replayed(Wrapper):
    """Answers from `stored` as long as it lasts, then asks `inner`. Outermost: nothing replayed is paid or recorded.

    Raises ReplayMismatch when the stored call is about another step, image or candidate than the one now asked.
    """

    def __init__(self, inner: Oracle, stored: Iterable[StoredCall]) -> None:
        super().__init__(inner)
        self._stored: Iterator[StoredCall] = iter(stored)
        self._replaying = True
        self.replayed = 0

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """The stored answer if there is one left; else see `Oracle.query`."""
        check_shape(images, self.image_shape)
        call = next(self._stored, None) if self._replaying else None
        if call is None:
            self._replaying = False
            return super().query(images, tag)
        if tag is None or call.step != tag.step or not np.array_equal(call.rows, tag.rows):
            raise ReplayMismatch(
                f"the stored call after query {self.replayed} asks about other images or candidates than this scan; "
                "the ledger is of other code or data: scan into a fresh --db"
            )
        self.replayed += len(images)
        return decode(call.codec, call.answers)
