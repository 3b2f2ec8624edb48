"""From the name of a remote model to its oracle: connect, ask what it is, complete what it does not say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracles.errors import InvalidSpec, ModelError
from oracles.oracle import ImageShape
from oracles.outside import TEXT_BYTES, read_outside, reason
from oracles.remote.caller import Service
from oracles.remote.config import RemoteConfig
from oracles.remote.credentials import ApiKey, read_key
from oracles.remote.discover import Described, described
from oracles.remote.exchange import Exchanges
from oracles.remote.oracle import RemoteOracle
from oracles.remote.target import Target, target
from oracles.wire.contract import Interface

DEFAULT_BATCH = 128
"""Images per call where a service states no limit."""


@dataclass(frozen=True, eq=False)
class Reached:
    """A service that answered, and what it says about its model."""

    target: Target
    about: Described
    connection: Exchanges
    key: ApiKey
    config: RemoteConfig

    def oracle(self, given: Described) -> RemoteOracle:
        """The oracle. given: what holds where the service says nothing: shape, classes, places.

        Raises ModelError where shape or number of classes stay unknown, or where both are known and differ.
        """
        about, own = self.about, class_names(self.config)
        classes = own or about.classes or _of_images(given, about.n_classes)
        if about.n_classes not in (None, len(classes)) or (about.classes and len(about.classes) != len(classes)):
            answers = about.n_classes or len(about.classes or ())
            raise ModelError(
                f"{self.target.name}: answers {answers} classes, but {len(classes)} are named; name as many"
            )
        shape = about.image_shape or given.image_shape
        if shape is None:
            raise ModelError(
                f"{self.target.name}: the service does not state the shape of its images; give image_shape"
            )
        batch = min(self.config.batch or about.max_batch or DEFAULT_BATCH, about.max_batch or 1 << 30)
        places = {**self.target.places, **about.places, **given.places}
        interface = Interface(self.target.model, shape, classes, batch, about.datatype, places)
        return RemoteOracle(Service(self.target, interface, self.connection, self.key, self.config))


def _of_images(given: Described, answers: int | None) -> tuple[str, ...]:
    if given.classes and answers in (None, len(given.classes)):
        return given.classes
    count = answers or given.n_classes
    if count is None:
        raise ModelError(
            "neither the service nor the images state the classes; give n_classes, or class_names of remote "
            "(--class-names)"
        )
    return tuple(map(str, range(count)))


def reach(name: str, config: RemoteConfig) -> Reached:
    """Connect to the service that `name` names, and read what it says about its model, without a query.

    Raises InvalidSpec on a name, key or option that is wrong, and ModelError where the service does not answer, wants
    another key, or has no such model.
    """
    found, key = target(name, config.endpoint), read_key(config)
    if key.text is not None and not (found.private or config.plain_http):
        raise InvalidSpec(
            f"{found.host}: everybody on the way could read the key, since it is asked by http://; write https://, or "
            "set remote.plain_http=true"
        )
    if config.class_names is not None:
        class_names(config)
    from oracles.remote.transport import Connection  # httpx2, which nothing else needs

    connection = Connection(found.base, found.prefix, config)
    return Reached(found, described(found, connection, key), connection, key, config)


def remote(
    name: str,
    *,
    image_shape: ImageShape | None = None,
    n_classes: int | None = None,
    **settings: Any,
) -> RemoteOracle:
    """The oracle of a remote model, for use without a scan; a scan takes the name itself.

    name: `https://HOST/v2/models/NAME` (Open Inference Protocol), `hf:URL`, `rekognition:ARN`, `customvision:URL`,
    `vertex:URL`, `clarifai:URL` or `template:FILE.toml`. image_shape, n_classes: needed where the service does not
    state them. settings: the fields of `RemoteConfig`, such as `key_env="MY_KEY"`. Raises as `reach`.
    """
    return reach(name, RemoteConfig.of(settings)).oracle(Described(image_shape, None, n_classes))


def class_names(config: RemoteConfig) -> tuple[str, ...] | None:
    """The names in the config or in its file. Raises InvalidSpec unless there are two or more, each once."""
    given = config.class_names
    if isinstance(given, str):
        try:
            lines = read_outside(Path(given), TEXT_BYTES).text.splitlines()
        except (OSError, ValueError) as error:
            raise InvalidSpec(f"cannot read the names of the classes in {given!r}: {reason(error)}") from None
        given = tuple(line.strip() for line in lines if line.strip())
    if given is not None and (len(given) < 2 or len(set(given)) < len(given)):
        raise InvalidSpec(f"remote.class_names has {len(given)} names; give two or more, each once")
    return given
