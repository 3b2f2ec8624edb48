"""Models behind a network in a scan: reached before the images are chosen, completed with what these state."""

from __future__ import annotations

import hashlib
import warnings
from typing import TypeVar

from oracles.errors import InvalidSpec
from oracles.remote.discover import Described
from oracles.remote.oracle import RemoteOracle
from oracles.remote.service import Reached, reach
from oracles.remote.target import is_remote
from oracles.spec import OracleSpec
from simkit.data import ImageSet
from studies.scan.config import ScanConfig

ModelT = TypeVar("ModelT")

_OF_A_LOCAL_MODEL = ("output", "mean", "std", "input_layout", "input_dtype", "batch_limit", "architecture")
"""Settings of how a model is run in this process; a service does that its own way."""


def reached(model: ModelT, config: ScanConfig) -> ModelT | Reached:
    """The service that the text `model` names, with what it says about its model; any other model as it is.

    Sends no query. Raises as `oracles.remote.service.reach`, and InvalidSpec for settings of local models.
    """
    if not (isinstance(model, str) and is_remote(model)):
        return model
    check_remote(config)
    return reach(model, config.remote)


def check_remote(config: ScanConfig) -> None:
    """Raise InvalidSpec for settings that would have no effect on a model behind a network."""
    for name in _OF_A_LOCAL_MODEL:
        if getattr(config, name) is not None:
            instead = "set remote.batch" if name == "batch_limit" else "leave it out"
            raise InvalidSpec(f"{name} is for models in this process, and a service runs its own; {instead}")


def remote_oracle(service: Reached, images: ImageSet, config: ScanConfig) -> RemoteOracle:
    """The oracle of a service for a scan with these images, whose classes and shape count where it states none.

    Raises as `Reached.oracle`, and InvalidSpec where the config restricts scores that the service says not to answer.
    """
    _check_answers(service, config.oracle)
    places = {} if config.output_item is None else {"output": config.output_item}
    given = images.n_classes or config.n_classes
    return service.oracle(Described(images.image_shape, tuple(images.classes) or None, given, None, places=places))


def _check_answers(service: Reached, spec: OracleSpec) -> None:
    name, answers = service.target.name, service.about.answers or ""
    of_scores = [field for field in ("top_k", "threshold", "decimals") if getattr(spec, field) is not None]
    noise = ["score_noise"] if spec.score_noise else []
    if answers == "label" and (wanted := of_scores + noise):
        raise InvalidSpec(f"{name} answers labels only, and {wanted[0]} needs scores; give --oracle label instead")
    if answers.startswith("top") and noise:
        classes = answers.removeprefix("top")
        raise InvalidSpec(f"{name} answers its top {classes} only, and score_noise needs all scores; leave it out")
    if answers == "label" and not spec.label_only:
        warnings.warn(
            f"{name} answers labels only; give --oracle label, by which the searches choose their settings",
            stacklevel=2,
        )


def remote_sha256(oracle: RemoteOracle, name: str | None) -> str:
    """The identity of a remote model in a run key: format, address and interface, and the name given to it."""
    return oracle.identity if name is None else hashlib.sha256(f"{oracle.identity}\0{name}".encode()).hexdigest()
