"""`simkit keys`: a key is told once, and changed by its id."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from studies.cli.main import main
from studies.service.keys import KeyFile


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "KEYS.toml")


def told(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["keys", *args]) == 0
    return capsys.readouterr().out


def test_a_key_is_told_once_and_stored_as_a_hash(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--budget", "50", "--rate", "10/second", "--oracle", "top3", "--price", "2.5EUR"]
    out = told(capsys, "new", "--keys", file, "--name", "lab", *options, "--expires", "2027-01-01", "--model", "m")
    text = re.search(r"key: (sk-\w{8}-\S{43})\n", out)
    aws = re.search(r"access key id (\w{8}), secret access key (\S{40})\n", out)
    assert text is not None
    assert aws is not None
    key = KeyFile(Path(file)).authenticate(text[1])
    assert (key.id, key.name, key.budget, key.rate, key.oracle.top_k) == (aws[1], "lab", 50, "10/second", 3)
    assert (key.price_per_thousand, key.currency, key.models) == (2.5, "EUR", ("m",))
    later = [told(capsys, "list", "--keys", file), told(capsys, "list", "--keys", file, "--json")]
    later += [told(capsys, "top-up", key.id, "25", "--keys", file), told(capsys, "pardon", key.id, "--keys", file)]
    later += [told(capsys, "revoke", key.id, "--keys", file), Path(file).read_text(encoding="utf-8")]
    for secret in (text[1].split("-", 2)[2], aws[2]):
        assert out.count(secret) == 1
        assert not any(secret in words for words in later)


@pytest.mark.parametrize("text", ["tomorrow", "", "2027-02-30", "31.1.2027", "2027-01-31T12:00"])
def test_what_is_no_date_is_said_in_one_line(text: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", "--keys", file, "--name", "lab", "--expires", text]) == 2
    said = f"{text!r} is no date; write YEAR-MONTH-DAY, such as 2027-01-31"
    words = f"simkit: error: Invalid value for --expires: {said}; see simkit keys new --help\n"
    assert capsys.readouterr().err == words
    assert not Path(file).exists()


def test_the_list_says_what_each_key_may(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "new", "--keys", file, "--name", "one", "--budget", "5", "--oracle", "label")
    told(capsys, "new", "--keys", file, "--name", "two", "--expires", "2020-01-01")
    one, two = json.loads(told(capsys, "list", "--keys", file, "--json"))
    assert told(capsys, "top-up", one["id"], "7", "--keys", file) == f"{one['id']}: a budget of 12 queries in all\n"
    assert told(capsys, "revoke", one["id"], "--keys", file) == f"{one['id']}: revoked\n"
    one, two = json.loads(told(capsys, "list", "--keys", file, "--json"))
    assert (one["name"], one["state"], one["budget"], one["oracle"]) == ("one", "revoked", 12, "label_only=True")
    assert (two["name"], two["state"], two["budget"], two["oracle"]) == ("two", "expired", None, None)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["top-up", "abcd2345", "5"], "no key 'abcd2345'"),
        (["revoke", "abcd2345"], "no key 'abcd2345'"),
        (["new", "--name", "x", "--price", "free"], "is no price"),
        (["new", "--name", "x", "--price", "2.5"], "give a number and a currency, such as 2.5EUR"),
        (["new", "--name", "x", "--price", "2.5 US dollars"], "is no currency; give a short text such as USD"),
        (["new", "--name", "x", "--rate", "fast"], "not a rate limit"),
        (["new", "--name", "x", "--oracle", "nonsense"], "no oracle spec 'nonsense'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    file: str, capsys: pytest.CaptureFixture[str], args: list[str], words: str
) -> None:
    told(capsys, "new", "--keys", file, "--name", "unlimited")
    before = Path(file).read_bytes()
    assert main(["keys", *args, "--keys", file]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert Path(file).read_bytes() == before


def test_a_key_without_a_budget_cannot_be_topped_up(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "new", "--keys", file, "--name", "unlimited")
    (key,) = KeyFile(Path(file)).all()
    assert main(["keys", "top-up", key.id, "5", "--keys", file]) == 2
    assert "has no budget to add to" in capsys.readouterr().err


@pytest.mark.parametrize("change", [["top-up", "ID", "7"], ["pardon", "ID"]])
def test_a_revoked_key_is_not_changed_further(change: list[str], file: str, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "new", "--keys", file, "--name", "one", "--budget", "5")
    (key,) = json.loads(told(capsys, "list", "--keys", file, "--json"))
    told(capsys, "revoke", key["id"], "--keys", file)
    before = Path(file).read_bytes()
    assert main(["keys", *(key["id"] if word == "ID" else word for word in change), "--keys", file]) == 2
    said = capsys.readouterr().err
    assert f"key {key['id']} is revoked and stays so" in said
    assert said.count("\n") == 1
    assert Path(file).read_bytes() == before
