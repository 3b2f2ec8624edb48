"""Settings of a scan in a TOML file: written by `simkit study tune --best`, read by `simkit scan --settings`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from oracles.errors import InvalidSpec, likely
from oracles.outside import TEXT_BYTES, read_outside
from simkit.errors import ConfigError
from simkit.references import is_reference, referred
from studies.scan.config import ScanConfig


def settings_in(path: str | Path) -> dict[str, Any]:
    """The fields of `ScanConfig` that the file sets; a preset of the user's own stays `module:NAME`.

    Raises ConfigError in one line that begins with the file's name.
    """
    name = Path(path).name
    try:
        settings = tomllib.loads(read_outside(path, TEXT_BYTES).text)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"no TOML: {error}"
        raise ConfigError(f"{name}: cannot be read: {reason}; see simkit study tune --best") from error
    for key in settings:
        if key not in ScanConfig.model_fields:
            raise ConfigError(f"{name}: a scan has no setting {key!r}{likely(key, ScanConfig.model_fields)}")
    return settings


def settings_from(path: str | Path) -> dict[str, Any]:
    """The settings for `ScanConfig.of` and for `scan(model, **settings_from(path))`.

    A preset named `module:NAME` is imported. Raises ConfigError as `settings_in` does, and where a value is wrong for
    the file's preset.
    """
    settings = settings_in(path)
    preset = settings.get("preset")
    if isinstance(preset, str) and is_reference(preset):
        settings["preset"] = referred(preset)
    if preset is not None:  # without one the settings are those of a preset that is named elsewhere
        try:
            ScanConfig.of(settings)
        except (ConfigError, InvalidSpec) as error:
            raise ConfigError(f"{Path(path).name}: {error}") from error
    return settings
