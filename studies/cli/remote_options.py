"""Options of commands whose model may be behind a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

ApiKeyEnv = Annotated[
    str | None,
    typer.Option(
        "--api-key-env",
        metavar="VAR",
        help="The environment variable that holds the API key; the key itself is stored and shown nowhere.",
    ),
]
ApiKeyFile = Annotated[
    str | None,
    typer.Option("--api-key-file", metavar="FILE", help="The file that holds the API key, in one line."),
]
InFlight = Annotated[
    int | None,
    typer.Option(
        "--in-flight",
        metavar="N",
        help="Calls that are sent side by side, 1 to 64.",
        show_default="4",
    ),
]
Pace = Annotated[
    str | None,
    typer.Option(
        "--pace",
        metavar="RATE",
        help="Send at most this many images or calls per time: 10/second, '5 calls/second'.",
    ),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="The address behind rekognition:ARN, in place of that of AWS.",
    ),
]
ClassNames = Annotated[
    str | None,
    typer.Option(
        "--class-names",
        metavar="FILE",
        help="The names of the classes that the service answers, one a line in the order of their numbers; by default "
        "those that it states, else those of the images.",
    ),
]
NClasses = Annotated[
    int | None,
    typer.Option(
        "--n-classes",
        metavar="N",
        help="Number of classes, where neither the service nor the images state it.",
    ),
]


def with_remote(given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a scan with these options of a remote model; those that are None stay as they were."""
    own = {name: value for name, value in options.items() if value is not None}
    if not own:
        return dict(given)
    before = given.get("remote")
    return {**given, "remote": {**(before if isinstance(before, Mapping) else {}), **own}}
