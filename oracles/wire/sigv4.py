"""AWS Signature Version 4 of a request `POST /`, as services with the JSON protocol take it: signing and verifying.

Source: "Create a signed AWS API request" in the IAM user guide; tested against botocore. A service that verifies needs
the secret itself, which it keeps nowhere: it derives it from its own secret and the key's id.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from oracles.wire.contract import HttpRequest, Problem

ALGORITHM = "AWS4-HMAC-SHA256"

MOST_SECONDS = 300.0
"""How far a request's date may be from the service's clock: five minutes, as AWS allows."""

_MUST_SIGN = ("host", "x-amz-date", "x-amz-target")
"""Headers that choose what is done, where and when; an unsigned one could be changed on the way."""

_FIELDS = re.compile(
    rf"{ALGORITHM} +Credential=([!-+\--~]+), *SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{{64}})", re.ASCII
)
_DATE = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Scope:
    """What a signature is for, and when it was made."""

    region: str
    service: str
    at: datetime

    @property
    def text(self) -> str:
        return f"{self.at:%Y%m%d}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True)
class Credential:
    """A key's id and its secret, which no repr shows."""

    key_id: str
    secret: str

    def __repr__(self) -> str:
        return f"Credential({self.key_id!r}, ...)"


def secret_of(server_secret: bytes, key_id: str) -> str:
    """The secret that belongs to a key id, 64 hexadecimal digits: HMAC-SHA256 of the id under the server's secret."""
    return hmac.new(server_secret, b"sigv4/" + key_id.encode(), hashlib.sha256).hexdigest()


def key_id_of(request: HttpRequest) -> str | None:
    """The key id that a request names, verified or not; None without a signature."""
    found = _FIELDS.fullmatch(request.headers.get("authorization", "").strip())
    return found[1].split("/")[0] or None if found else None


def signed(request: HttpRequest, host: str, credential: Credential, scope: Scope) -> HttpRequest:
    """The request with the headers `host`, `x-amz-date` and `authorization`. scope.at: now, in UTC."""
    headers = {**request.headers, "host": host, "x-amz-date": f"{scope.at.astimezone(UTC):{_DATE}}"}
    names = sorted(name for name in headers if name in ("content-type", "host") or name.startswith("x-amz-"))
    scope = replace(scope, at=scope.at.astimezone(UTC))
    signature = _signature(replace(request, headers=headers), names, credential.secret, scope)
    parts = f"Credential={credential.key_id}/{scope.text}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return replace(request, headers={**headers, "authorization": f"{ALGORITHM} {parts}"})


def verify(request: HttpRequest, secret: str, now: datetime) -> None:
    """Raise Problem (`unauthorized`) unless `request` was signed with `secret` within MOST_SECONDS of `now`.

    request: with the body as it came, before any Content-Encoding is undone.
    """
    found = _FIELDS.fullmatch(request.headers.get("authorization", "").strip())
    if found is None:
        raise _refused("the Authorization header holds no AWS signature, version 4")
    names, (_, *named) = found[2].split(";"), found[1].split("/")
    missing = [name for name in _MUST_SIGN if name not in names]
    if missing or any(name not in request.headers for name in names):
        raise _refused(f"the signature does not cover {', '.join(missing) or 'headers that are there'}")
    scope = _scope(named, request.headers)
    if abs((now - scope.at).total_seconds()) > MOST_SECONDS:
        raise _refused(f"the signature's date is more than {MOST_SECONDS:.0f} s from the service's clock; set yours")
    if not hmac.compare_digest(_signature(request, names, secret, scope), found[3]):
        raise _refused(
            "the signature does not match; check the secret access key and that no proxy changed the request"
        )


def _scope(named: list[str], headers: Mapping[str, str]) -> Scope:
    try:
        at = datetime.strptime(headers["x-amz-date"], _DATE).replace(tzinfo=UTC)
        day, region, service, _ = named
    except ValueError:
        raise _refused("the signature's date or scope cannot be read") from None
    scope = Scope(region, service, at)
    if scope.text != "/".join(named):
        raise _refused(f"the signature is for {day[:20]!r}, which is not the date of the request")
    return scope


def _refused(message: str) -> Problem:
    return Problem("unauthorized", message)


def _signature(request: HttpRequest, names: Iterable[str], secret: str, scope: Scope) -> str:
    path, _, query = request.target.partition("?")
    if request.method != "POST" or path != "/" or query:
        raise _refused("only POST / can be signed here")
    names = list(names)
    lines = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in names)
    payload = hashlib.sha256(request.body).hexdigest()
    canonical = f"POST\n/\n\n{lines}\n{';'.join(names)}\n{payload}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{ALGORITHM}\n{scope.at:{_DATE}}\n{scope.text}\n{digest}"
    key = b"AWS4" + secret.encode()
    for part in scope.text.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
