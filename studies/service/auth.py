"""Who asks: the API key that a request carries in the way of its format."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from oracles.wire.contract import HttpRequest, Problem, Wire
from oracles.wire.rekognition import Rekognition
from oracles.wire.sigv4 import verify
from simkit.errors import ConfigError
from studies.service.keys import Key, KeyFile


@dataclass(frozen=True, repr=False)
class Caller:
    """Whose request it is. secret: what must have signed the request, for AWS alone; None for keys that are sent."""

    key: Key
    secret: str | None = None


def admitted(wire: Wire, request: HttpRequest, keys: KeyFile) -> Caller:
    """The caller by the headers, before a body is read; an AWS signature is still to be verified.

    Raises Problem: `unauthorized` without a valid key, `unavailable` while the file of keys cannot be read.
    """
    credential = wire.credential(request)
    if credential is None:
        raise Problem("unauthorized", "there is no API key; send the key that the provider gave you")
    try:
        if isinstance(wire, Rekognition):
            return Caller(*keys.of_id(credential))
        return Caller(keys.authenticate(credential))
    except ConfigError as error:
        raise Problem("unavailable", "the service cannot check keys for now; ask again", 5.0) from error


def verified(caller: Caller, request: HttpRequest) -> Caller:
    """The caller, of whom no signature is due any more.

    Raises Problem (`unauthorized`) unless the request, with the body as it came, is signed as it must be.
    """
    if caller.secret is not None:
        verify(request, caller.secret, datetime.now(UTC))
    return Caller(caller.key)
