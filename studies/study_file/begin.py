"""Study files to begin with, every line of them explained."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from simkit.errors import ConfigError
from simkit.files import make_folder, write_atomically
from studies.study_file.schema import SCHEMA, schema

EXAMPLES = ("curve", "tune")


def write_example(path: Path, example: str) -> Path:
    """Write the example to `path`, and the schema that editors read beside it; returns where the schema is.

    Raises ConfigError where there is such a file already, and for an example that there is not; StorageError.
    """
    if example not in EXAMPLES:
        raise ConfigError(f"no example {example!r}; choose from {', '.join(EXAMPLES)}")
    if path.exists():
        raise ConfigError(f"{path}: is there already; name another file")
    text = files("studies.study_file").joinpath("examples", f"{example}.toml").read_bytes()
    beside = path.parent / SCHEMA
    make_folder(path.parent)
    write_atomically(beside, schema().encode())
    write_atomically(path, text)
    return beside
