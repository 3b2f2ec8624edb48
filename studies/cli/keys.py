"""`simkit keys`: make, list, top up, revoke and pardon the API keys of a service."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from studies.cli.output import echo, print_json, print_table

app = typer.Typer(help="Make and change the API keys of `simkit serve`.", no_args_is_help=True)

KeysFile = Annotated[Path, typer.Option("--keys", metavar="KEYS.toml", help="The file of keys.", show_default=False)]
KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `simkit keys list` shows it.")]
Day = Annotated[
    str | None, typer.Option("--expires", metavar="DATE", help="First day on which it no longer works (UTC).")
]

COLUMNS = ("id", "name", "state", "budget", "rate", "oracle", "models", "price", "created", "expires")


@app.command("new")
def add_key(  # noqa: PLR0913 (the options are the command's interface)
    keys: KeysFile,
    name: Annotated[str, typer.Option("--name", help="Whose key it is.", show_default=False)],
    budget: Annotated[int | None, typer.Option("--budget", min=0, help="Queries in all; by default no limit.")] = None,
    rate: Annotated[str | None, typer.Option("--rate", metavar="10/second", help="Limit over all models.")] = None,
    oracle: Annotated[
        str | None, typer.Option("--oracle", metavar="SPEC", help="Restrictions besides those of the models.")
    ] = None,
    price: Annotated[
        str | None, typer.Option("--price", metavar="2.5EUR", help="Price of 1000 queries, and its currency.")
    ] = None,
    expires: Day = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", metavar="NAME", help="A model it may ask; may be repeated.")
    ] = None,
) -> None:
    """Make a key and print it once. The file of keys stores only its hash."""
    from oracles.spec import load
    from studies.service.keys import new_key

    given: dict[str, Any] = {"name": name, "budget": budget, "rate": rate, "models": model or None}
    given |= {"oracle": load(oracle) if oracle is not None else None} | _price(price)
    given |= {"expires": None if expires is None else _day(expires)}
    made = new_key(keys, {field: value for field, value in given.items() if value is not None})
    echo(f"key: {made.text}")
    echo(f"for AWS clients: access key id {made.key.id}, secret access key {made.aws_secret}")
    echo("these secrets are shown only now; the file has a hash of the first", err=True)


@app.command("list")
def list_keys(keys: KeysFile, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the keys, without their secrets."""
    from studies.service.keys import KeyFile

    rows = [_row(key) for key in KeyFile(keys).all()]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, COLUMNS)


@app.command("top-up")
def top_up_key(
    key_id: KeyId, queries: Annotated[int, typer.Argument(min=1, help="Queries to add to its budget.")], keys: KeysFile
) -> None:
    """Add to the budget of a key. A running service takes it over at the key's next call."""
    from studies.service.changes import top_up

    echo(f"{key_id}: a budget of {top_up(keys, key_id, queries).cap} queries in all")


@app.command("revoke")
def revoke_key(key_id: KeyId, keys: KeysFile) -> None:
    """End a key. A running service turns it away from its next call on."""
    from studies.service.changes import revoke

    revoke(keys, key_id)
    echo(f"{key_id}: revoked")


@app.command("pardon")
def pardon_key(key_id: KeyId, keys: KeysFile) -> None:
    """Lift the ban of a key. A detector of probing may have blocked it."""
    from studies.service.changes import pardon

    pardon(keys, key_id)
    echo(f"{key_id}: its bans up to now no longer count")


def _price(text: str | None) -> dict[str, Any]:
    from studies.scan.price import Price

    if text is None:
        return {}
    price = Price.parse(text)
    return {"price_per_thousand": price.per_thousand, "currency": price.currency}


def _day(text: str) -> datetime:
    """The midnight (UTC) at which a day begins. Raises BadParameter."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        message = f"{text!r} is no date; write YEAR-MONTH-DAY, such as 2027-01-31"
        raise typer.BadParameter(message, param_hint="--expires") from None


def _row(key: Any) -> dict[str, object]:
    ended = key.expires is not None and key.expires <= datetime.now(UTC)
    stated = key.price_per_thousand is not None and key.currency
    price = f"{key.price_per_thousand:g} {key.currency}" if stated else None
    return {
        **{"id": key.id, "name": key.name, "state": "revoked" if key.revoked else "expired" if ended else "valid"},
        **{"budget": key.cap, "rate": key.rate, "price": price, "created": key.created.isoformat()},
        **{
            "oracle": ", ".join(f"{n}={v}" for n, v in key.oracle.model_dump(exclude_unset=True).items()) or None,
            "models": None if key.models is None else ", ".join(key.models),
        },
        "expires": None if key.expires is None else key.expires.isoformat(),
    }
