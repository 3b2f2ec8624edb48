"""What the name of a remote model says: the wire format, the address, and the model there."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from oracles.errors import InvalidSpec
from oracles.oracle import ImageShape
from oracles.outside import TEXT_BYTES, read_outside, reason
from oracles.wire.contract import CallerSide
from oracles.wire.registry import wire

_PREFIX = re.compile(r"(https?://|(?:hf|rekognition|customvision|vertex|clarifai|template):)", re.IGNORECASE)
_OIP = re.compile(r"(/.*)?/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/infer)?/?")
_VERTEX = re.compile(r"(/.*)?/v1/projects/([^/]+)/locations/([^/]+)/endpoints/([^/:]+)(?::predict)?/?")
_CLARIFAI = re.compile(r"(/.*)?/v2/users/([^/]+)/apps/([^/]+)/models/([^/]+)(?:/outputs)?/?")
_ARN = re.compile(r"arn:[a-z\d-]+:rekognition:([a-z\d-]+):\d{12}:project/([\w.-]+)/version/[\w.-]+/\d+", re.ASCII)

_SCHEMELESS = re.compile(
    r"(?!/)(?:[\w.-]+|\[[\da-f:]+\])(?::\d{1,5}/.*|(?::\d{1,5})?/(?:.*/)?v2/models/.+)", re.IGNORECASE
)

_LOOPBACK = re.compile(r"localhost|127(?:\.\d+){3}|::1|.*\.localhost")


@dataclass(frozen=True, eq=False)
class Target:
    """One model of a service. base: scheme, host and port. prefix: path before the paths of the format.

    name: as the user wrote it, in a normal form; it holds no secret. content: what else identifies it, such as the
    hash of a template. image_shape, classes: what the name states by itself, which only a template does.
    """

    wire: CallerSide
    name: str
    base: str
    model: str
    prefix: str = ""
    places: dict[str, str] = field(default_factory=dict)
    content: str = ""
    image_shape: ImageShape | None = None
    classes: tuple[str, ...] | None = None
    batch: int | None = None

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.base).netloc

    @property
    def private(self) -> bool:
        """Whether what is sent cannot be read on the way: https://, or this machine."""
        parts = urlsplit(self.base)
        return parts.scheme == "https" or _LOOPBACK.fullmatch(parts.hostname or "") is not None


def is_remote(name: str) -> bool:
    """Whether the text names a remote model: an http(s) address, or one of the formats and a colon."""
    return _PREFIX.match(name) is not None


def lacks_scheme(name: str) -> bool:
    """Whether the text is like an address whose http:// was forgotten: HOST:PORT/... or HOST/v2/models/..."""
    return _SCHEMELESS.fullmatch(name) is not None


def target(name: str, endpoint: str | None = None) -> Target:
    """The model that `name` names; see `RemoteOracle`. endpoint: see `RemoteConfig`. Raises InvalidSpec."""
    kind, _, rest = name.partition(":")
    kind = kind.lower()
    if kind == "template":
        return _template(rest)
    if kind == "rekognition":
        return _rekognition(rest, endpoint)
    if endpoint is not None:
        raise InvalidSpec(f"endpoint is for rekognition:ARN; the address of {name!r} is in it")
    if kind in ("http", "https"):
        return _oip(name)
    makers = {"hf": _by_path, "customvision": _by_path, "vertex": _vertex, "clarifai": _clarifai}
    return makers[kind](kind, rest)


def _address(text: str, example: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise InvalidSpec(f"{text!r} is no address; write {example}") from None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise InvalidSpec(f"{text!r} is no address; write {example}")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InvalidSpec(
            "an address with a user, a `?` or a `#` is refused, since it is stored; give the key by --api-key-env"
        )
    return parts


def _base(parts: SplitResult) -> str:
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    return f"{scheme}://{host}" + ("" if port is None or port == {"http": 80, "https": 443}[scheme] else f":{port}")


def _oip(text: str) -> Target:
    example = "https://HOST/v2/models/NAME, or hf:URL, rekognition:ARN, template:FILE.toml ... for another format"
    parts = _address(text, example)
    found = _OIP.fullmatch(parts.path)
    if found is None:
        raise InvalidSpec(f"{text!r} names no model of the Open Inference Protocol; write {example}")
    base, prefix, model = _base(parts), found[1] or "", unquote(found[2])
    places = {} if found[3] is None else {"version": unquote(found[3])}
    version = "" if found[3] is None else f"/versions/{found[3]}"
    return Target(wire("oip"), f"{base}{prefix}/v2/models/{found[2]}{version}", base, model, prefix, places)


def _by_path(kind: str, text: str) -> Target:
    parts = _address(text, f"{kind}:https://HOST/PATH")
    if parts.path in ("", "/"):
        raise InvalidSpec(f"{kind}:{text} has no path; write {kind}:https://HOST/PATH, as the service documents it")
    path = parts.path.rstrip("/")
    model = unquote(path.rpartition("/")[2])
    return Target(wire(kind), f"{kind}:{_base(parts)}{path}", _base(parts), model, places={"path": path})


def _vertex(kind: str, text: str) -> Target:
    example = "vertex:https://HOST/v1/projects/P/locations/L/endpoints/E"
    parts = _address(text, example)
    found = _VERTEX.fullmatch(parts.path)
    if found is None:
        raise InvalidSpec(f"{text!r} names no endpoint; write {example}")
    places = {"project": unquote(found[2]), "location": unquote(found[3])}
    name = f"vertex:{_base(parts)}{parts.path.rstrip('/').removesuffix(':predict')}"
    return Target(wire(kind), name, _base(parts), unquote(found[4]), found[1] or "", places)


def _clarifai(kind: str, text: str) -> Target:
    example = "clarifai:https://HOST/v2/users/U/apps/A/models/M"
    parts = _address(text, example)
    found = _CLARIFAI.fullmatch(parts.path)
    if found is None:
        raise InvalidSpec(f"{text!r} names no model; write {example}")
    places = {"user": unquote(found[2]), "app": unquote(found[3])}
    name = f"clarifai:{_base(parts)}{parts.path.rstrip('/').removesuffix('/outputs')}"
    return Target(wire(kind), name, _base(parts), unquote(found[4]), found[1] or "", places)


def _rekognition(arn: str, endpoint: str | None) -> Target:
    found = _ARN.fullmatch(arn)
    if found is None:
        form = "rekognition:arn:aws:rekognition:REGION:ACCOUNT:project/MODEL/version/NAME/NUMBER"
        raise InvalidSpec(f"{arn!r} is no ARN of a model; write {form}")
    parts = _address(endpoint or f"https://rekognition.{found[1]}.amazonaws.com", "endpoint=https://HOST")
    if parts.path not in ("", "/"):
        raise InvalidSpec(f"endpoint has the path {parts.path!r}, but rekognition is asked at /; leave it out")
    return Target(wire("rekognition"), f"rekognition:{arn}", _base(parts), found[2], places={"arn": arn})


def _template(path: str) -> Target:
    from oracles.wire.template import load  # needs the extra [remote]

    try:
        text = read_outside(path, TEXT_BYTES).text
    except (OSError, ValueError) as error:
        raise InvalidSpec(f"cannot read the template {path!r}: {reason(error)}") from None
    try:
        found = load(text)
    except InvalidSpec as error:
        raise InvalidSpec(f"{path}: {error}") from None
    stated = found.interface()
    about = hashlib.sha256(text.encode()).hexdigest()
    parts = _address(found.base, "url = 'https://HOST/PATH'")
    name, base = f"template:{path}", _base(parts)
    return Target(
        found,
        name,
        base,
        stated.model,
        "",
        {},
        about,
        stated.image_shape,
        stated.classes,
        found.most or stated.max_batch,
    )
