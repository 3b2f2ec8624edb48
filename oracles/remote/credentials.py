"""The API key of a service: read where it is used, shown nowhere."""

from __future__ import annotations

import os
import re

from oracles.errors import InvalidSpec
from oracles.outside import read_outside, reason
from oracles.remote.config import RemoteConfig

KEY_BYTES = 1 << 16

SAYS = "--api-key-env or --api-key-file (remote.key_env, remote.key_file)"
"""The options that say where a key is read, for messages."""

_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}|[A-Za-z_][A-Za-z0-9_]{0,19}")
"""A name of a variable that a message may repeat; a token such as `hf_...` is a name too, but long."""


class ApiKey:
    """A key that no repr, error or pickle shows. text: None without a key."""

    def __init__(self, text: str | None) -> None:
        self._text = text

    @property
    def text(self) -> str | None:
        return self._text

    def __repr__(self) -> str:
        return "ApiKey(none)" if self._text is None else "ApiKey(...)"

    def __reduce__(self) -> str:
        raise TypeError("an API key is not pickled; each process reads it itself")

    def without(self, message: str) -> str:
        """The message without the key, also if a service repeats it, and without the secret of an AWS key."""
        parts = [] if self._text is None else [self._text, self._text.rpartition(":")[2]]
        for part in parts:
            if len(part) >= 4:
                message = message.replace(part, "...")
        return message


def read_key(config: RemoteConfig) -> ApiKey:
    """The key that the environment or a file holds. Raises InvalidSpec, which names the place and no key."""
    if config.key_env is not None:
        where, text = f"the environment variable {config.key_env}", os.environ.get(config.key_env)
        if text is None:
            raise InvalidSpec(_not_set(config.key_env))
    elif config.key_file is not None:
        where = config.key_file
        try:
            text = read_outside(config.key_file, KEY_BYTES).text
        except (OSError, ValueError) as error:
            raise InvalidSpec(_unread(where, error)) from None
    else:
        return ApiKey(None)
    text = text.strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidSpec(f"{where} holds no API key; give one line of ASCII characters without spaces")
    return ApiKey(text)


def _not_set(name: str) -> str:
    """The message about a variable that is not there, which may be the key itself, put where its name belongs."""
    if _NAME.fullmatch(name) is None:
        return (
            "--api-key-env (remote.key_env): give the NAME of an environment variable, not the key itself; what is "
            "given is not shown here, and no variable of that name is set"
        )
    return (
        f"the environment variable {name} is not set; set it with `export {name}=...` (one that is set but not "
        "exported is not seen here), or name another one with --api-key-env"
    )


def _unread(file: str, error: OSError | ValueError) -> str:
    """The message about a key file; a name of no file may be the key itself."""
    if os.path.lexists(file):
        return f"cannot read the API key in {file}: {reason(error)}"
    return (
        "cannot read the API key: there is no file of the name given by --api-key-file (remote.key_file); give the "
        "NAME of a file that holds the key, not the key itself"
    )
