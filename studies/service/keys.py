"""API keys: what each of them may do, and their file, in which no secret of a caller stands."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from oracles.errors import likely
from oracles.guard import RateLimit
from oracles.outside import MANIFEST_BYTES, read_outside, reason
from oracles.spec import OracleSpec
from oracles.wire.contract import Problem
from simkit.errors import ConfigError, complaint
from simkit.files import write_atomically

_TEXT = re.compile(r"sk-([a-z0-9]{8})-([A-Za-z0-9_-]{43})")
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # without letters and digits that look alike
_NO_KEY = hashlib.sha256(b"").hexdigest()  # compared with where there is no such key, which takes as long

T = TypeVar("T")

MODEL_NAME = r"^[A-Za-z0-9_.-]{1,64}$"
"""What a model of a service may be called, since its name stands in paths."""

ModelName = Annotated[str, Field(pattern=MODEL_NAME)]

_WAIT = 10.0
"""Seconds that a change of the file waits for another one to end."""


class Key(BaseModel):
    """One API key, without its secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str = Field(pattern=r"^[a-z0-9]{8}$", description="Public part of the key; it stands in ledgers and logs.")
    name: str = Field(min_length=1, max_length=100, description="Whose key it is.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the secret part.")
    created: datetime = Field(description="When it was made.")
    budget: Annotated[int, Field(ge=0)] | None = Field(default=None, description="Queries in all; none for no limit.")
    topped_up: int = Field(default=0, ge=0, description="Queries added to the budget later.")
    rate: str | None = Field(default=None, description="Limit over all models, as `rate_limit` of an oracle.")
    oracle: OracleSpec = Field(default=OracleSpec(), description="Restrictions besides those of the models.")
    price_per_thousand: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Price of 1000 queries."
    )
    currency: str = Field(default="", max_length=10, description="Currency of the price.")
    models: tuple[ModelName, ...] | None = Field(default=None, description="Models it may ask; none for all.")
    expires: datetime | None = Field(default=None, description="When it ends.")
    revoked: bool = Field(default=False, description="Whether it was ended before.")
    pardoned: datetime | None = Field(default=None, description="Bans before this time do not count.")

    @field_validator("rate")
    @classmethod
    def _rate(cls, text: str | None) -> str | None:
        if text is not None:
            RateLimit.parse(text)  # InvalidSpec is a ValueError
        return text

    @field_validator("name", "currency")
    @classmethod
    def _printable(cls, text: str) -> str:
        if not text.isprintable():
            raise ValueError("give one line of printable text")
        return text

    @field_validator("models", mode="before")
    @classmethod
    def _names(cls, names: object) -> object:
        return tuple(names) if isinstance(names, list) else names

    @field_validator("oracle", mode="before")
    @classmethod
    def _spec(cls, spec: object) -> object:
        return OracleSpec(**spec) if isinstance(spec, dict) else spec

    @field_validator("created", "expires", "pardoned", mode="before")
    @classmethod
    def _in_utc(cls, time: object) -> object:
        """A day begins at midnight, and a time without a zone is in UTC."""
        if isinstance(time, datetime):
            return time if time.tzinfo else time.replace(tzinfo=UTC)
        return datetime(time.year, time.month, time.day, tzinfo=UTC) if isinstance(time, date) else time

    @property
    def cap(self) -> int | None:
        """The budget with what was added later."""
        return None if self.budget is None else self.budget + self.topped_up

    @property
    def expired(self) -> bool:
        """Whether it is past its date."""
        return self.expires is not None and self.expires <= datetime.now(UTC)

    def is_banned(self, banned: float | None) -> bool:
        """Whether its last ban, at this Unix time, still counts; None for a key that was never banned."""
        return banned is not None and banned > (self.pardoned.timestamp() if self.pardoned else 0.0)


def check_valid(key: Key) -> None:
    """Raise Problem (`expired`) for a key that is revoked or past its date."""
    if key.revoked or key.expired:
        raise Problem("expired", "this key has ended; ask the provider for another one")


@dataclass(frozen=True, repr=False)
class NewKey:
    """A key that was just made. text: what the caller sends, aws_secret: what an AWS client signs with, whose access
    key id is the key's id. Both are told once and stored nowhere."""

    key: Key
    text: str
    aws_secret: str


class KeyFile:
    """The file of keys, read again whenever it changes. Safe to share among threads and with `simkit keys`.

    Every method raises ConfigError for a file that cannot be read, has a mistake, or may be read by other users. Once
    the file was read, such a change of it is not taken over, and `problem` says why; empty if there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock, self.problem = threading.Lock(), ""
        self._seen: tuple[int, int, int] | None = None
        self._secret, self._keys = b"", dict[str, Key]()

    def all(self) -> tuple[Key, ...]:
        """All keys, in the order of the file."""
        return tuple(self._read().values())

    def authenticate(self, text: str | None) -> Key:
        """The key of this text. Raises Problem of kind `unauthorized`, whatever is wrong with it."""
        found = _TEXT.fullmatch(text or "")
        key = self._read().get(found[1]) if found else None
        given = hashlib.sha256(found[2].encode() if found else b"-").hexdigest()
        if not hmac.compare_digest(given, key.sha256 if key else _NO_KEY) or key is None:
            raise Problem("unauthorized", "no such API key; send the key that the provider gave you")
        return key

    def current(self, key: Key) -> Key:
        """The key as the file has it now; revoked if it is no longer there."""
        return self._read().get(key.id) or key.model_copy(update={"revoked": True})

    def of_id(self, key_id: str) -> tuple[Key, str]:
        """The key of an AWS access key id, and the secret that must have signed the request. Raises Problem."""
        key = self._read().get(key_id)
        if key is None:
            raise Problem("unauthorized", "no such access key id; use the one that the provider gave you")
        return key, _aws_secret(self._secret, key_id)

    def _read(self) -> dict[str, Key]:
        with self._lock:
            try:
                self._reread()
                self.problem = ""
            except ConfigError as error:
                if self._seen is None:
                    raise
                self.problem = str(error)
            return self._keys

    def _reread(self) -> None:
        try:
            about = os.stat(self.path)
            seen = (about.st_mtime_ns, about.st_size, about.st_ino)
            if seen != self._seen:
                self._secret, self._keys = _parsed(self.path)
                self._seen = seen
        except OSError as error:
            raise ConfigError(f"{self.path}: the keys cannot be read: {reason(error)}; see `simkit keys new`") from None


def new_key(path: Path, fields: dict[str, Any]) -> NewKey:
    """Add a key to the file, which is made if it is not there. fields: of `Key`, without id, sha256 and created.

    Raises ConfigError on a field that is not valid, and StorageError.
    """
    secret = secrets.token_urlsafe(32)
    made = {"sha256": hashlib.sha256(secret.encode()).hexdigest(), "created": now()} | fields
    _key({"id": _draw_id()} | made, path)  # before anything is written

    def add(own: bytes, keys: dict[str, Key]) -> NewKey:
        key_id = next(name for name in iter(_draw_id, "") if name not in keys)
        keys[key_id] = key = _key({"id": key_id} | made, path)
        return NewKey(key, f"sk-{key_id}-{secret}", _aws_secret(own, key_id))

    return _changed(path, add, new=True)


def change_key(path: Path, key_id: str, change: Callable[[Key], dict[str, Any]]) -> Key:
    """Change fields of a key. Raises ConfigError if there is no such key, and StorageError."""

    def replace(_: bytes, keys: dict[str, Key]) -> Key:
        if key_id not in keys:
            raise ConfigError(f"{path}: no key {key_id!r}{likely(key_id, keys, 'the keys are')}")
        old = keys[key_id]
        keys[key_id] = _key({name: getattr(old, name) for name in old.model_fields_set} | change(old), path)
        return keys[key_id]

    return _changed(path, replace)


def now() -> datetime:
    """The time, in UTC and whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def _draw_id() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))


def _aws_secret(secret: bytes, key_id: str) -> str:
    """The 40 characters that an AWS client expects: it must be known to check a signature, so it is derived."""
    return base64.b64encode(hmac.digest(secret, key_id.encode(), "sha256")[:30]).decode()


def _changed(path: Path, change: Callable[[bytes, dict[str, Key]], T], new: bool = False) -> T:
    """Change the keys and write the file, one process after the other. new: the file may be missing."""
    lock = FileLock(f"{path}.lock", timeout=_WAIT)
    try:
        if path.exists() or not new:
            _parsed(path)  # so that no lock appears beside a file of another kind
        with lock:
            missing = new and not path.exists()
            secret, keys = (secrets.token_bytes(32), dict[str, Key]()) if missing else _parsed(path)
            result = change(secret, keys)
            write_atomically(path, _written(secret, keys.values()).encode(), mode=0o600)
            return result
    except Timeout:
        raise ConfigError(f"{path}: another command is changing the keys; try again") from None
    except OSError as error:
        raise ConfigError(f"{path}: the keys cannot be read: {reason(error)}; see `simkit keys new`") from None


def _parsed(path: Path) -> tuple[bytes, dict[str, Key]]:
    """The service's own secret and the keys. Raises ConfigError, OSError."""
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: other users may read the keys; run: chmod 600 {str(path)!r}")
    try:
        stored = tomllib.loads(read_outside(path, MANIFEST_BYTES).text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: the keys are not TOML: {error}") from None
    secret, entries = stored.pop("secret", None), stored.pop("key", [])
    if (
        not (isinstance(secret, str) and re.fullmatch(r"[0-9a-f]{64}", secret))
        or stored
        or not isinstance(entries, list)
    ):
        raise ConfigError(f"{path}: give `secret`, 64 hexadecimal digits, and [[key]] tables alone")
    keys = dict[str, Key]()
    for entry in entries:
        key = _key(entry, path)
        if key.id in keys:
            raise ConfigError(f"{path}: two keys have the id {key.id}; remove one")
        keys[key.id] = key
    return bytes.fromhex(secret), keys


def _key(fields: object, path: Path) -> Key:
    try:
        return Key.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(f"{path}: key: {complaint(error, Key.model_fields)}") from None


def _written(secret: bytes, keys: Iterable[Key]) -> str:
    """The file. Texts are printable, so that TOML and JSON write them alike."""
    parts = [f'# API keys of `simkit serve`; only SHA-256 of their secrets stands here.\nsecret = "{secret.hex()}"\n']
    for key in keys:
        lines = [
            f"{name} = {_value(getattr(key, name))}\n" for name in Key.model_fields if name in key.model_fields_set
        ]
        parts.append("\n[[key]]\n" + "".join(line for line in lines if not line.endswith(" = \n")))
    return "".join(parts)


def _value(value: object) -> str:
    """A value in TOML, empty for None."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, OracleSpec):
        return _value(value.model_dump(exclude_none=True, exclude_unset=True))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_value(field)}" for name, field in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
