"""What tests of formats of pictures share: an interface, images, answers, and hostile values."""

from __future__ import annotations

import json

import numpy as np

from oracles.answers import MISSING, Answer, Labels, Scores, TopK
from oracles.wire.contract import HttpReply, HttpRequest, Interface
from oracles.wire.custom_vision import CustomVision
from oracles.wire.huggingface import HuggingFace
from oracles.wire.rekognition import Rekognition

ABOUT = Interface("digits", (3, 4, 4), ("zero", "one", "two", "three", "four", "five"))
IMAGES = (np.random.default_rng(0).integers(0, 256, (1, 3, 4, 4)) / 255).astype(np.float32)
VALUES = np.array([[0.05, 0.4, 0.1, 0.15, 0.0, 0.3]], np.float32)

FORMATS = (HuggingFace(), Rekognition(), CustomVision())

ANSWERS: tuple[Answer, ...] = (
    Scores(VALUES),
    Scores(VALUES, 0.005),
    TopK(np.array([[1, 5, 3]], np.int32), np.array([[0.4, 0.3, 0.15]], np.float32), 6),
    TopK(np.array([[1, MISSING, MISSING]], np.int32), np.array([[0.4, 0, 0]], np.float32), 6, 0.35),
    Labels(np.array([3], np.int32), 6),
    Labels(np.array([MISSING], np.int32), 6),
)


def content(reply: HttpReply | HttpRequest) -> object:
    """The JSON value of a body."""
    value: object = json.loads(reply.body)
    return value
