"""An API key is in no error, however a service repeats it."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oracles.errors import ModelError
from oracles.remote import remote
from oracles.remote.credentials import ApiKey
from oracles.wire.bodies import MOST_MESSAGE
from oracles.wire.contract import HttpReply, HttpRequest
from tests.oracles.fakes import LinearOracle as Linear
from tests.remote_server import Behaviour, serving

KEY = "sk-abcdefgh+SECRET/SECRET=SECRETSECRETSECRETSECRETSECRETS"

FORMS = {
    "plain": KEY,
    "encoded": quote(KEY, safe=""),
    "lower": KEY.replace("+", "%2b").replace("=", "%3d"),
    "path": quote(KEY),
    "json": KEY.replace("/", chr(92) + "/"),
}


def error_of(reply: HttpReply, monkeypatch: pytest.MonkeyPatch) -> str:
    """The message of the error that a reply to a call becomes."""
    monkeypatch.setenv("A_KEY", KEY)

    def before(request: HttpRequest) -> HttpReply | None:
        return reply if request.method == "POST" else None

    with serving(Linear(), Behaviour(before=before)) as service, pytest.raises(ModelError) as raised:
        remote(service.url, key_env="A_KEY", patience=1.0).query(torch.rand((1, 3, 4, 4)))
    return str(raised.value)


@pytest.mark.process
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("before", [0, 200, MOST_MESSAGE - len(KEY) + 1, MOST_MESSAGE - 20, MOST_MESSAGE - 9])
@pytest.mark.parametrize("status", [400, 401, 413])
def test_a_key_that_a_refusal_repeats_is_taken_out(
    form: str, before: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"error": "x" * (before - 1) + " " + FORMS[form]}).encode()
    said = error_of(HttpReply(status, {}, body), monkeypatch)
    assert KEY[:8] not in said
    assert "SECRET" not in said.upper()


@pytest.mark.process
@pytest.mark.parametrize(
    ("location", "shown"),
    [
        (f"https://login.example/{KEY}?token={KEY}", "'https://login.example'"),
        (f"https://{quote(KEY, safe='')}@login.example:8443/", "'https://login.example:8443'"),
        (f"/v2/login?token={KEY}", "another path of it"),
        (f"https://[{KEY}", "an address that cannot be read"),
    ],
)
def test_a_redirect_shows_its_host_alone(location: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = error_of(HttpReply(307, {"location": location}), monkeypatch)
    assert f"redirects to {shown}; nothing is sent there" in said
    assert "SECRET" not in said


@given(text=st.text("abcXYZ019+/=:-_", min_size=8, max_size=60), cut=st.integers(8, 60), words=st.text(max_size=30))
def test_no_beginning_of_a_key_ends_a_message(text: str, cut: int, words: str) -> None:
    assert not ApiKey(text).without(f"{words} {text[:cut]}").endswith(text[:cut])


def test_a_message_without_the_key_stays_as_it_is() -> None:
    said = "sk-abc is short, and SECRET is a word"
    assert ApiKey(KEY).without(said) == said
    assert ApiKey(None).without(said) == said


def test_a_short_key_leaves_the_members_of_a_reply_alone() -> None:
    reply = HttpReply(400, {}, b'{"kind":"rate"}')
    assert ApiKey("kind").out_of(reply) == reply
