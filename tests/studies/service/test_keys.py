"""API keys: what they may be, how their file changes, and that no secret is stored or told twice."""

from __future__ import annotations

import logging
import os
import re
import threading
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from oracles.spec import OracleSpec
from oracles.watch.settings import WatchSpec
from oracles.wire.contract import Problem
from simkit.errors import ConfigError
from studies.service.keys import KeyFile, NewKey, change_key, new_key
from tests.studies.service.conftest import OpenGate, asked, key_of, sent


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "KEYS.toml"


def secrets_of(made: NewKey) -> tuple[str, str]:
    return made.text.split("-", 2)[2], made.aws_secret


FULL: dict[str, Any] = {
    **{"name": 'a "lab" — 2', "budget": 100, "rate": "10 calls/second", "oracle": OracleSpec(top_k=3, score_noise=0.5)},
    **{"price_per_thousand": 2.5, "currency": "EUR", "models": ("m", "n"), "expires": datetime(2027, 1, 1, tzinfo=UTC)},
}


@pytest.mark.parametrize(
    ("budget", "topped_up", "cap"), [(None, 0, None), (None, 5, None), (0, 0, 0), (100, 0, 100), (100, 50, 150)]
)
def test_what_is_added_later_belongs_to_the_budget(budget: int | None, topped_up: int, cap: int | None) -> None:
    assert key_of(budget=budget, topped_up=topped_up).cap == cap


def test_a_key_comes_back_from_the_file_as_it_was_made(file: Path) -> None:
    made = [new_key(file, FULL), new_key(file, {"name": "other"})]
    assert KeyFile(file).all() == tuple(each.key for each in made)
    assert made[0].key.model_dump(include=set(FULL)) == {**FULL, "oracle": FULL["oracle"].model_dump()}
    if os.name == "posix":
        assert file.stat().st_mode & 0o777 == 0o600


def test_a_key_may_have_a_detector_of_probing_of_its_own(file: Path) -> None:
    watched = OracleSpec(top_k=3, watch=WatchSpec(detector="piha", action="coarse", decimals=1))
    new_key(file, {"name": "watched", "oracle": watched})
    assert KeyFile(file).all()[0].oracle == watched
    assert tomllib.loads(file.read_text())["key"][0]["oracle"]["watch"]["action"] == "coarse"


def test_a_key_is_as_the_file_has_it_now_and_revoked_once_it_is_gone(file: Path) -> None:
    made, other = new_key(file, {"name": "a", "budget": 5}).key, new_key(file, {"name": "b"}).key
    keys = KeyFile(file)
    assert (keys.current(made), keys.current(other)) == (made, other)
    changed = change_key(file, made.id, lambda _: {"budget": 7})
    assert keys.current(made) == changed != made
    assert keys.current(key_of("gone0000")) == key_of("gone0000", revoked=True)


def test_the_text_of_a_key_opens_it_and_nothing_else_does(file: Path) -> None:
    made, other = new_key(file, {"name": "a"}), new_key(file, {"name": "b"})
    keys = KeyFile(file)
    assert keys.authenticate(made.text) == made.key
    swapped = f"sk-{other.key.id}-{made.text.split('-', 2)[2]}"
    for wrong in (
        None,
        "",
        made.key.id,
        made.text[:-1],
        made.text + "A",
        made.text[:-1] + "*",
        swapped,
        "sk-abcd2345-",
    ):
        with pytest.raises(Problem) as caught:
            keys.authenticate(wrong)
        assert (caught.value.kind, caught.value.message) == (
            "unauthorized",
            "no such API key; send the key that the provider gave you",
        )
    assert keys.of_id(made.key.id) == (made.key, made.aws_secret)
    assert re.fullmatch(r"[A-Za-z0-9+/]{40}", made.aws_secret)
    with pytest.raises(Problem, match="no such access key id"):
        keys.of_id("zzzzzzzz")


def test_a_file_that_changes_is_read_again(file: Path) -> None:
    made = new_key(file, {"name": "a", "budget": 5})
    keys = KeyFile(file)
    assert keys.authenticate(made.text).cap == 5
    change_key(file, made.key.id, lambda key: {"topped_up": key.topped_up + 7})
    assert keys.authenticate(made.text).cap == 12
    change_key(file, made.key.id, lambda _: {"revoked": True})
    assert keys.authenticate(made.text).revoked
    later = new_key(file, {"name": "b"})
    assert keys.authenticate(later.text) == later.key


@pytest.mark.parametrize("broken", ["secret = 1", "[[key", ""])
def test_a_mistake_in_the_file_ends_no_running_service(file: Path, broken: str) -> None:
    made, good = new_key(file, {"name": "a"}), file.read_text(encoding="utf-8")
    keys = KeyFile(file)
    assert keys.authenticate(made.text) == made.key
    file.write_text(broken, encoding="utf-8")
    assert keys.authenticate(made.text) == made.key
    assert str(file) in keys.problem
    file.write_text(good + "revoked = true\n", encoding="utf-8")
    assert keys.authenticate(made.text).revoked
    assert keys.problem == ""
    file.unlink()
    assert keys.authenticate(made.text).revoked
    assert "cannot be read" in keys.problem


def test_a_running_gate_takes_changes_over(file: Path, opened: OpenGate) -> None:
    made, gate, keys = new_key(file, {"name": "a", "budget": 2}), opened(), KeyFile(file)

    def ask(seed: int) -> int | None:
        question = asked(2, seed)
        return gate.call(keys.authenticate(made.text), "m", question, sent(question)).remaining

    assert ask(0) == 0
    with pytest.raises(Problem, match="0 queries left"):
        ask(1)
    change_key(file, made.key.id, lambda _: {"topped_up": 4})
    assert ask(1) == 2
    change_key(file, made.key.id, lambda _: {"revoked": True})
    with pytest.raises(Problem, match="has ended"):
        ask(2)


def test_changes_by_many_threads_are_all_there(file: Path) -> None:
    first = new_key(file, {"name": "first", "budget": 0})

    def work(number: int) -> None:
        new_key(file, {"name": f"n{number}"})
        change_key(file, first.key.id, lambda key: {"topped_up": key.topped_up + 1})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = KeyFile(file).all()
    assert sorted(key.name for key in keys) == sorted(["first", *(f"n{n}" for n in range(8))])
    assert keys[0].cap == 8


def test_no_secret_is_stored_logged_or_shown(
    file: Path, opened: OpenGate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made, gate = new_key(file, {"name": "a", "budget": 3}), opened()
    keys = KeyFile(file)
    told = [repr(made), str(made), repr(made.key), repr(keys.all()), repr(vars(keys))]
    question = asked()
    gate.call(keys.authenticate(made.text), "m", question, sent(question, "k"))
    for wrong in (made.text[:-1] + "!", f"{made.text}x", made.text.upper()):
        with pytest.raises(Problem) as caught:
            keys.authenticate(wrong)
        told.append(f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}")
    with pytest.raises(Problem) as caught:
        gate.call(keys.authenticate(made.text), "m", asked(2, 1), sent(question))
    told += [repr(caught.value), caplog.text]
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in secrets_of(made):
        assert not any(secret in text for text in told)
        assert secret.encode() not in stored
    assert b"provider" not in stored or len(stored) > 10_000, "the ledger was read"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "name"),
        ({"name": "two\nlines"}, "one line of printable text"),
        ({"name": "a", "budget": -1}, "budget = -1"),
        ({"name": "a", "rate": "fast"}, "not a rate limit"),
        ({"name": "a", "price_per_thousand": float("nan")}, "price_per_thousand"),
        ({"name": "a", "colour": "red"}, "no setting 'colour'"),
    ],
)
def test_a_wrong_key_is_refused_and_the_file_stays(file: Path, fields: dict[str, Any], words: str) -> None:
    new_key(file, {"name": "first"})
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=re.escape(words)):
        new_key(file, fields)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("secret = 1", "64 hexadecimal digits"),
        ("", "64 hexadecimal digits"),
        ("[[key", "not TOML"),
        ('secret = "{s}"\nkeys = 1', "tables alone"),
        ('secret = "{s}"\nkey = 1', "tables alone"),
        ('secret = "{s}"\n[[key]]\nid = "abcd2345"', "name"),
        ('secret = "{s}"\n[[key]]\noracle = {{top_k = 0}}', "key"),
    ],
)
def test_a_file_with_a_mistake_is_refused_in_one_line(file: Path, text: str, words: str) -> None:
    file.write_text(text.replace("{s}", "0" * 64).replace("{{", "{").replace("}}", "}"), encoding="utf-8")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=words) as caught:
        KeyFile(file).all()
    assert "\n" not in str(caught.value)


def test_days_and_times_without_a_zone_are_in_utc(file: Path) -> None:
    made = new_key(file, {"name": "a"})
    file.write_text(file.read_text(encoding="utf-8") + "expires = 2027-01-01\n", encoding="utf-8")
    assert KeyFile(file).all()[0].expires == datetime(2027, 1, 1, tzinfo=UTC)
    assert KeyFile(file).authenticate(made.text).id == made.key.id


def test_a_missing_or_open_file_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="simkit keys new"):
        KeyFile(file).all()
    with pytest.raises(ConfigError, match="simkit keys new"):
        change_key(file, "abcd2345", lambda _: {})
    new_key(file, {"name": "a"})
    with pytest.raises(ConfigError, match="no key 'abcd2345'"):
        change_key(file, "abcd2345", lambda _: {})
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        KeyFile(file).all()
