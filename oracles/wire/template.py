"""A format by description: one TOML file says how some service is asked and where its answer stands. Callers only.

    url = "https://api.example.com/v1/classify"
    body = '{"image": "{image_png_base64}"}'
    classes = ["cat", "dog"]
    image_shape = [3, 32, 32]

    [headers]
    authorization = "Bearer {key}"

    [answer]
    names = "$.labels[*].name"
    scores = "$.labels[*].confidence"
    scale = 100

A body that begins as JSON is sent as `content-type: application/json` unless `headers` name another; FastAPI refuses it
otherwise. `url`, `method`, `headers` and `body` may hold placeholders, in braces: `image_png` (the body is the picture
itself) or `image_png_base64` of the one image of a call, `images_png_base64_json` and `images_json` (N, C, H, W, in [0,
1]) of all its images, `count`, and `key`, which may not stand in the URL, where it would be logged. `batch` is the
largest number of images of a call. In `[answer]` are JSONPath expressions: `images` finds one value per image, and
within each, or within the whole answer of a call with one image, `scores` finds the scores and `names` the classes.
Without `names` there must be a score of every class in their order; without `scores` there is one name, the label.
`scale` is what the service writes for a probability of 1; `empty = true` says that an image may have no class at all,
which is otherwise an error, since a wrong path finds nothing either. In `[problems]`, kinds of refusals (`rate`,
`budget`, ...) have the lists of HTTP statuses that mean them here.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oracles.answers import Answer, FloatArray
from oracles.errors import InvalidSpec, one_line
from oracles.wire.bodies import kind_of, message_of, retry_after
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Kind, Problem
from oracles.wire.pictures import to_base64, to_png
from oracles.wire.replies import reply_value
from oracles.wire.scores import Row, answer_of, scaled

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_SINGLE = frozenset({"image_png", "image_png_base64"})
_SEVERAL = frozenset({"images_json", "images_png_base64_json"})
_ANYWHERE = frozenset({"key", "count"})

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=False)


class AnswerPaths(BaseModel):
    """Where an answer stands: JSONPath expressions, and what the service writes for a probability of 1."""

    model_config = _STRICT

    images: str | None = None
    names: str | None = None
    scores: str | None = None
    scale: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    empty: bool = False

    @model_validator(mode="after")
    def _readable(self) -> AnswerPaths:
        if self.names is None and self.scores is None:
            raise ValueError("give `scores`, `names` or both")
        for path in (self.images, self.names, self.scores):
            if path is not None:
                _compiled(path)
        return self


class TemplateSpec(BaseModel):
    """The content of a template file; see the module's text."""

    model_config = _STRICT

    url: str
    body: str
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    image_shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    answer: AnswerPaths
    method: Literal["POST", "PUT"] = "POST"
    headers: dict[str, str] = Field(default_factory=dict)
    batch: Annotated[int, Field(ge=1)] = 1
    problems: dict[Kind, tuple[Annotated[int, Field(ge=300, le=599)], ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> TemplateSpec:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("`classes` has a name twice")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("`url` must be http:// or https:// with a host and without a user")
        if _names(self.url):
            raise ValueError("`url` must have no placeholders; a key in it would be logged")
        self._check_placeholders()
        if self.batch > 1 and self.answer.images is None:
            raise ValueError("`answer.images` must find the images of a call, since `batch` is larger than 1")
        return self

    def _check_placeholders(self) -> None:
        for name, value in self.headers.items():
            if not _names(value) <= _ANYWHERE:
                raise ValueError(f"the header {name!r} may hold only {{key}} and {{count}}")
        used = _names(self.body)
        if unknown := used - _SINGLE - _SEVERAL - _ANYWHERE:
            raise ValueError(f"`body` has the unknown placeholder {{{min(unknown)}}}")
        if len(used & (_SINGLE | _SEVERAL)) != 1:
            raise ValueError("`body` must hold the images by exactly one of the placeholders")
        if "image_png" in used and self.body.strip() != "{image_png}":
            raise ValueError("{image_png} must be the whole `body`, since a picture is no text")
        if self.batch > 1 and used & _SINGLE:
            raise ValueError(f"`batch` is {self.batch}, but {{{min(used & _SINGLE)}}} is one image")


class Template:
    """A format by description, for callers. Immutable; made by `load`."""

    name = "template"

    def __init__(self, spec: TemplateSpec) -> None:
        self._spec = spec
        self._statuses = {status: kind for kind, statuses in spec.problems.items() for status in statuses}

    @property
    def pictures(self) -> bool:
        return "images_json" not in _names(self._spec.body)

    @property
    def most(self) -> int | None:
        return self._spec.batch

    @property
    def base(self) -> str:
        """Scheme and host of the service, to which the targets of requests belong."""
        parts = urlsplit(self._spec.url)
        return f"{parts.scheme}://{parts.netloc}"

    def interface(self) -> Interface:
        """What the template states about the model; the name is the URL's path."""
        path = urlsplit(self._spec.url).path
        return Interface(path, self._spec.image_shape, self._spec.classes, self._spec.batch)

    def ask(self, images: FloatArray, interface: Interface, credential: str | None) -> HttpRequest:
        """See `CallerSide.ask`. Raises InvalidSpec if the template needs a key and there is none."""
        key = self._key(credential)
        parts = urlsplit(self._spec.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        plain = {"key": key, "count": str(len(images))}
        headers = {name.lower(): _filled(value, plain) for name, value in self._spec.headers.items()}
        if _is_json(self._spec.body):
            headers.setdefault("content-type", "application/json")
        return HttpRequest(self._spec.method, target, headers, self._body(images, key))

    def understand(self, reply: HttpReply, images: int, interface: Interface) -> Answer:
        """See `CallerSide.understand`."""
        value = reply_value(reply, interface, images)
        paths = self._spec.answer
        found = [value] if paths.images is None else _found(paths.images, value)
        if len(found) != images:
            raise Problem("failed", f"the answer has {len(found)} images, and {images} were asked about")
        return answer_of([self._row(entry, interface) for entry in found], reply, interface)

    def problem(self, reply: HttpReply) -> Problem:
        """See `CallerSide.problem`; the template's statuses go before those of HTTP."""
        kind = self._statuses.get(reply.status, kind_of(reply.status))
        return Problem(kind, message_of(reply), retry_after(reply))

    def _key(self, credential: str | None) -> str:
        spec = self._spec
        if credential is None and any("key" in _names(text) for text in (spec.body, *spec.headers.values())):
            raise InvalidSpec("the template has the placeholder {key}; name where the key is to be read")
        if credential is not None and not credential.isprintable():
            raise InvalidSpec("the key has characters that no header can carry; is it the right file?")
        return credential or ""

    def _body(self, images: FloatArray, key: str) -> bytes:
        names = _names(self._spec.body)
        if "image_png" in names:
            return to_png(images[0])
        values = {"key": json.dumps(key)[1:-1], "count": str(len(images))}
        if "image_png_base64" in names:
            values["image_png_base64"] = to_base64(images[0])
        elif "images_json" in names:
            values["images_json"] = json.dumps(images.tolist())
        else:
            values["images_png_base64_json"] = json.dumps([to_base64(image) for image in images])
        return _filled(self._spec.body, values).encode()

    def _row(self, value: Any, interface: Interface) -> Row:
        paths = self._spec.answer
        scores: list[Any] | None = None if paths.scores is None else _listed(_found(paths.scores, value))
        names: list[Any] = list(interface.classes) if paths.names is None else _listed(_found(paths.names, value))
        if len(names) != len(names if scores is None else scores):
            raise Problem("failed", f"the answer has {len(names)} classes and {len(scores or ())} scores for an image")
        if not names and not paths.empty:
            raise Problem(
                "failed", "the answer has no class for an image; the template allows that with `empty = true`"
            )
        row: list[tuple[str, float | None]] = []
        for name, score in zip(names, [None] * len(names) if scores is None else scores, strict=True):
            row.append((_text(name), None if scores is None else _probability(score, paths.scale)))
        return row


def load(text: str) -> Template:
    """The template in the text of a TOML file. Raises InvalidSpec, which says what to change."""
    try:
        return Template(TemplateSpec.model_validate(tomllib.loads(text)))
    except tomllib.TOMLDecodeError as error:
        raise InvalidSpec(f"the template is no TOML file: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise InvalidSpec(f"the template is wrong{f' at `{where}`' if where else ''}: {said}") from None


def _names(text: str) -> frozenset[str]:
    return frozenset(_PLACEHOLDER.findall(text))


def _is_json(body: str) -> bool:
    """Whether a body begins as JSON, or with a placeholder that is JSON."""
    placeholder = _PLACEHOLDER.match(body.lstrip())
    return body.lstrip().startswith(("{", "[")) if placeholder is None else placeholder[1] in _SEVERAL


def _filled(text: str, values: dict[str, str]) -> str:
    """One pass, so that nothing in a value is taken for a placeholder."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def _compiled(path: str) -> Any:
    """A JSONPath expression, by python-jsonpath of the extra `remote`. Raises ValueError, also without the extra."""
    try:
        import jsonpath
    except ImportError:
        raise ValueError("templates need python-jsonpath: pip install 'b3d-simkit[remote]'") from None
    try:
        return jsonpath.compile(path)
    except Exception as error:  # its errors have several bases
        raise ValueError(f"{path!r} is no JSONPath: {one_line(error)}") from None


def _found(path: str, value: Any) -> list[Any]:
    if not isinstance(value, dict | list):
        raise Problem("failed", f"the answer is a single value; {path} finds nothing in it")
    try:
        found: list[Any] = _compiled(path).findall(value)
    except Exception as error:  # whatever a service sends, the call ends with a Problem
        raise Problem("failed", f"{path} cannot be followed in the answer: {one_line(error)}") from None
    return found


def _listed(found: list[Any]) -> list[Any]:
    """The values found; those of a list if it is the only one."""
    return found[0] if len(found) == 1 and isinstance(found[0], list) else found


def _text(name: object) -> str:
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise Problem("failed", "the answer has a class that is neither a text nor a whole number")
    return str(name)


def _probability(score: object, scale: float) -> float:
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise Problem("failed", "the answer has a score that is no number")
    return scaled(score, scale)
