"""The API key of a service: read where it is used, shown nowhere."""

from __future__ import annotations

import os
import re
from dataclasses import replace

from oracles.errors import InvalidSpec
from oracles.outside import read_outside, reason
from oracles.remote.config import RemoteConfig
from oracles.wire.contract import HttpReply

KEY_BYTES = 1 << 16

SAYS = "--api-key-env or --api-key-file (remote.key_env, remote.key_file)"
"""The options that say where a key is read, for messages."""

_SHORTEST, _SHORTEST_CUT = 4, 8
"""Characters of a key that is taken out of messages, and of the beginning of one at which a message was cut."""

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
        """The message without the key, also if a service repeats it, and without the secret of an AWS key.

        Nor is the key left percent-encoded or with JSON's escapes, nor its beginning where the message was cut.
        """
        for text in self._secrets():
            message = re.sub("".join(map(_written, text)), "...", message)
        for text in self._secrets():
            start = _SHORTEST_CUT if len(text) > _SHORTEST_CUT else len(text)
            head = "".join(map(_written, text[:start]))
            for found in re.finditer(f"(?={head})", message):
                if _goes_on(text, message[found.start() :]):
                    return message[: found.start()] + "..."
        return message

    def out_of(self, reply: HttpReply) -> HttpReply:
        """The reply without the key in its body, for what reads a message and cuts it."""
        if self._text is None or len(self._text) < _SHORTEST_CUT:
            return reply  # a short key may be a word that the format needs
        return replace(reply, body=self.without(reply.body.decode("latin-1")).encode("latin-1"))

    def _secrets(self) -> list[str]:
        found = [] if self._text is None else dict.fromkeys([self._text, self._text.rpartition(":")[2]])
        return [text for text in found if len(text) >= _SHORTEST]


def _written(character: str) -> str:
    """A pattern of the ways in which a message may hold a character: plain, percent-encoded, escaped in JSON."""
    code = ord(character)
    return rf"(?:\\?{re.escape(character)}|(?i:%{code:02x}|\\u{code:04x}))"


def _goes_on(text: str, end: str) -> bool:
    """Whether the end of a message is the beginning of a text, perhaps cut within a character's code."""
    for character in text:
        found = re.match(_written(character), end)
        if found is None:
            break
        end = end[found.end() :]
    return not end or (len(end) < 6 and end[0] in "%\\")


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
