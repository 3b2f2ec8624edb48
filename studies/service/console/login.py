"""Who may see the console: the admin token, the sessions of browsers, and how many wrong tokens an address may send."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from oracles.outside import TEXT_BYTES, read_outside, reason
from simkit.errors import ConfigError

VARIABLE = "SIMKIT_CONSOLE_TOKEN"

SHORTEST = 24
"""Characters of an admin token, so that it cannot be guessed at the rate at which tokens may be tried."""

HOURS = 8
"""That a browser stays logged in."""

_MOST_SESSIONS, _MOST_ADDRESSES = 64, 4096
_TRIES, _SECONDS = 10, 60.0
"""Wrong tokens that an address may send in these seconds."""

_MADE = "; make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"


def admin_token(file: Path | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """The token from `file`, else from the environment; None without either, which means no console.

    Raises ConfigError for a file that cannot be read or that others may read, and for a token that is too short.
    """
    if file is None:
        token, place = environ.get(VARIABLE), VARIABLE
        if token is None:
            return None
    else:
        token, place = _from_file(file), str(file)
    token = token.strip()
    if len(token) < SHORTEST or not (token.isascii() and token.isprintable()):
        raise ConfigError(f"{place}: an admin token has {SHORTEST} ASCII characters or more{_MADE}")
    return token


def _from_file(file: Path) -> str:
    try:
        readable = os.name == "posix" and file.stat().st_mode & 0o077
        text = read_outside(file, TEXT_BYTES).text
    except OSError as error:
        raise ConfigError(f"{file}: the admin token cannot be read: {reason(error)}{_MADE}") from None
    except ValueError:
        raise ConfigError(f"{file}: the admin token is no text{_MADE}") from None
    if readable:
        raise ConfigError(f"{file}: other users may read the admin token; run: chmod 600 {str(file)!r}")
    return text


@dataclass(frozen=True, repr=False)
class Session:
    """A browser that is logged in. form: the token that its forms carry. until: time.monotonic() of its end."""

    form: str
    until: float

    def is_form(self, given: str) -> bool:
        """Whether a form carries the token of this session."""
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.form.encode())


class Sessions:
    """Browsers that are logged in, in memory alone: a restart ends them. Safe to share among threads.

    Only hashes of the cookies are kept, so that a lookup takes equally long for all wrong ones.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._open: OrderedDict[bytes, Session] = OrderedDict()
        self._clock, self._lock = clock, Lock()

    def begin(self) -> str:
        """A new session; its cookie."""
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._open) >= _MOST_SESSIONS:
                self._open.popitem(last=False)
            self._open[_hashed(cookie)] = Session(secrets.token_urlsafe(32), self._clock() + HOURS * 3600)
        return cookie

    def of(self, cookie: str) -> Session | None:
        """The session of a cookie, None if there is none or it has ended."""
        with self._lock:
            session = self._open.get(_hashed(cookie))
            if session is not None and session.until <= self._clock():
                del self._open[_hashed(cookie)]
                return None
            return session

    def end(self, cookie: str) -> None:
        """Log out."""
        with self._lock:
            self._open.pop(_hashed(cookie), None)


class Door:
    """Compares tokens, and stops listening to an address that sends wrong ones. Safe to share among threads."""

    def __init__(self, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._token, self._clock, self._lock = token.encode(), clock, Lock()
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until a token from this address is looked at, 0 for now."""
        with self._lock:
            recent = self._recent(address)
            return recent[-_TRIES] + _SECONDS - self._clock() if len(recent) >= _TRIES else 0.0

    def opens(self, given: str, address: str) -> bool:
        """Whether this is the token; a wrong one is counted. Call it only where `wait` is 0."""
        right = hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token)
        if not right:
            with self._lock:
                recent = [*self._recent(address), self._clock()]
                self._wrong[address] = recent[-_TRIES:]
                self._wrong.move_to_end(address)
                while len(self._wrong) > _MOST_ADDRESSES:
                    self._wrong.popitem(last=False)
        return right

    def _recent(self, address: str) -> list[float]:
        since = self._clock() - _SECONDS
        return [at for at in self._wrong.get(address, ()) if at > since]


def _hashed(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "surrogateescape")).digest()
