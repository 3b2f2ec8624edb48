"""`simkit serve`: models behind an HTTP API with keys, budgets and rates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studies.cli.output import echo, print_table

if TYPE_CHECKING:
    from studies.service.config import ServiceConfig
    from studies.service.serving import Serving

ModelName = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL", help="A model file, DIR:7 for a victim of a zoo, or python:module:name.", show_default=False
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="SERVICE.toml", help="The service from a file, such as one of several models."),
]
Keys = Annotated[
    Path | None, typer.Option("--keys", metavar="KEYS.toml", help="The file of API keys; see simkit keys new.")
]
LedgerPlace = Annotated[
    str | None,
    typer.Option("--db", metavar="FILE", help="The provider's ledger, or postgresql://USER@HOST/DATABASE."),
]
OracleOption = Annotated[
    str | None, typer.Option("--oracle", metavar="SPEC", help="What every key is answered, as in simkit scan.")
]
Name = Annotated[str | None, typer.Option("--name", help="The model's name in paths; by default that of its file.")]
Classes = Annotated[
    str | None, typer.Option("--classes", metavar="A,B,C", help="Names of the classes, or their number.")
]
Shape = Annotated[
    str | None,
    typer.Option("--image-shape", metavar="C,H,W", help="Of a model that does not state the shape of its images."),
]
MaxBatch = Annotated[int | None, typer.Option("--max-batch", min=1, help="Images per call; by default 128.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="How the model is run, as in simkit scan, such as mean."),
]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on; by default 127.0.0.1.")]
Port = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 for a free one; by default 8000.")
]
Certificate = Annotated[Path | None, typer.Option("--tls-certificate", metavar="FILE", help="For HTTPS, with its key.")]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="The key of the certificate.")]
BehindProxy = Annotated[
    bool,
    typer.Option(
        "--behind-proxy", help="Listen beyond this machine without TLS, since a proxy in front of it adds it."
    ),
]
AccessLog = Annotated[bool, typer.Option("--access-log", help="Log a line per request on stderr, without keys.")]


def serve_models(  # noqa: PLR0913 (the options are the command's interface; ServiceConfig holds them)
    model: ModelName = None,
    config: ConfigFile = None,
    keys: Keys = None,
    db: LedgerPlace = None,
    oracle: OracleOption = None,
    name: Name = None,
    classes: Classes = None,
    image_shape: Shape = None,
    max_batch: MaxBatch = None,
    settings: Settings = None,
    host: Host = None,
    port: Port = None,
    tls_certificate: Certificate = None,
    tls_key: TlsKey = None,
    behind_proxy: BehindProxy = False,
    access_log: AccessLog = False,
) -> None:
    """Serve MODEL, or the models of --config, over HTTP until Ctrl-C, in the formats of several providers.

    Callers need a key of --keys; what they are answered is charged to it in the ledger --db.
    It listens on this machine only, unless --host says otherwise, which needs TLS or a proxy that adds it.
    """
    entry = {
        **{"file": model, "oracle": oracle, "name": name, "max_batch": max_batch, "settings": settings},
        **{"classes": classes, "image_shape": image_shape},
    }
    service = {
        **{"keys": keys, "db": db, "host": host, "port": port},
        **{"tls_certificate": tls_certificate, "tls_key": tls_key, "behind_proxy": behind_proxy or None},
    }
    given = {key: value for key, value in {**entry, **service}.items() if value is not None}
    chosen = _of_file(config, given) if config is not None else _of_options(given)
    try:
        from studies.service.serving import serve
    except ImportError as error:
        from simkit.errors import ConfigError

        raise ConfigError(f"simkit serve needs {error.name}: pip install 'b3d-simkit[serve]'") from error
    serve(chosen, _announce, access_log)
    echo("stopped; the ledger is closed")


def _of_file(config: Path, given: dict[str, Any]) -> ServiceConfig:
    from simkit.errors import ConfigError
    from studies.service.config import ServiceConfig

    if given and config.exists():  # loading it says that it is missing
        names = ", ".join(sorted({"listen" if key in ("host", "port") else key for key in given}))
        raise ConfigError(f"the whole service is in the file of --config; set {names} in {config}")
    return ServiceConfig.load(config)


def _of_options(given: dict[str, Any]) -> ServiceConfig:
    from simkit.errors import ConfigError
    from studies.scan.overrides import with_settings
    from studies.service.config import ServiceConfig

    for key, words in {"file": "MODEL, or --config", "keys": "--keys KEYS.toml", "db": "--db FILE"}.items():
        if key not in given:
            raise ConfigError(f"there is no {words}; give it")
    paths = ("keys", "db", "tls_certificate", "tls_key")
    fields: dict[str, Any] = {key: str(given.pop(key)) for key in paths if key in given}
    host, port = given.pop("host", "127.0.0.1"), given.pop("port", 8000)
    fields["listen"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    fields["behind_proxy"] = given.pop("behind_proxy", False)
    entry = given | {"name": given.get("name", _name_of(given["file"]))}
    entry["settings"] = with_settings({}, given.get("settings", []))
    if "classes" in given:
        entry["classes"] = int(given["classes"]) if given["classes"].isdecimal() else given["classes"].split(",")
    if "image_shape" in given:
        entry["image_shape"] = _sizes(given["image_shape"])
    return ServiceConfig.of({**fields, "model": [entry]}, Path.cwd())


def _sizes(text: str) -> list[int]:
    from simkit.errors import ConfigError

    if not re.fullmatch(r"\d{1,6}(,\d{1,6}){2}", text):
        raise ConfigError(f"--image-shape {text!r}: give channels, height and width, such as 3,32,32")
    return [int(size) for size in text.split(",")]


def _name_of(file: str) -> str:
    """A name for paths: `cats.onnx` becomes `cats`, `zoo:7` becomes `zoo-7`."""
    last = file.rpartition(":")[2] if file.startswith("python:") else Path(file).name
    stem = last.rpartition(".")[0] or last
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem)[:64] or "model"


def _announce(serving: Serving) -> None:
    import sys

    from studies.service.serving import routes

    echo(f"serving {', '.join(one.model for one in serving.interfaces)} at {serving.url}; Ctrl-C ends it")
    if not serving.keys:
        echo("no key is valid, so that nobody may ask; make one with: simkit keys new", err=True)
    rows = [{"format": name, "route": f"POST {path}"} for name, path in routes()]
    rows.append({"format": "", "route": "GET /openapi.yaml /metrics /health"})
    print_table(rows, ("format", "route"))
    if serving.console:
        echo(f"the console, for the admin token: {serving.url}/console")
    sys.stdout.flush()
