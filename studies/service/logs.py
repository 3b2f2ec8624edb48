"""Logs without keys: whatever is logged, no secret of a caller stands in it."""

from __future__ import annotations

import logging
import re

_SECRETS = re.compile(
    r"""(?ix) sk-[a-z0-9]{8}-[\w-]+                                             # our keys
    | (?<=signature=)[0-9a-f]{16,}                                             # of AWS
    | (?:authorization|prediction-key|x-goog-api-key|api-key|cookie) ['"]? \s* [:=,] \s* b?['"]? [^\r\n'"]+"""
)


def without_secrets(text: str) -> str:
    """The text with every key, and every header that carries one, replaced by three dots."""
    return _SECRETS.sub("...", text)


class Redacting(logging.Formatter):
    """Formats records without secrets, also those in their values and tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def configuration(level: str, access: bool) -> dict[str, object]:
    """For uvicorn, which passes it to `logging.config`. access: whether to log a line per request."""
    loggers = {
        "uvicorn": {"handlers": ["out"], "level": level, "propagate": False},
        "simkit.service": {"handlers": ["out"], "level": level, "propagate": False},
        "uvicorn.access": {"handlers": ["out"] if access else [], "level": "INFO", "propagate": False},
    }
    form = {"()": Redacting, "fmt": "%(asctime)s %(levelname)s %(message)s"}
    return {
        **{"version": 1, "disable_existing_loggers": False, "formatters": {"plain": form}},
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"}},
        "loggers": loggers,
    }
