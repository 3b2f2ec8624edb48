"""The formats of one picture a call, under the contract of all formats."""

from __future__ import annotations

from datetime import UTC, datetime

from oracles.wire.contract import HttpRequest
from oracles.wire.custom_vision import CustomVision
from oracles.wire.huggingface import HuggingFace
from oracles.wire.rekognition import Rekognition
from tests.oracles.wire.contract import WireContract


class TestHuggingFace(WireContract):
    wire = HuggingFace()
    nothing = (b"[]",)


class TestCustomVision(WireContract):
    wire = CustomVision()


class TestRekognition(WireContract):
    wire = Rekognition()
    credentials = ("a1:sk-secret", "a1")

    def signed(self, request: HttpRequest) -> HttpRequest:
        return Rekognition().sign(request, "127.0.0.1", self.credentials[0], datetime(2026, 11, 29, tzinfo=UTC))
