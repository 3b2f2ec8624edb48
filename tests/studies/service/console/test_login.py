"""The admin token, sessions, and how many wrong tokens an address may send."""

from __future__ import annotations

from pathlib import Path

import pytest

from simkit.errors import ConfigError
from studies.service.console.login import HOURS, SHORTEST, VARIABLE, Door, Sessions, admin_token

TOKEN = "0123456789abcdef01234567"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_token_comes_from_the_file_first_then_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    other = "x" * SHORTEST
    assert admin_token(file, {VARIABLE: other}) == TOKEN
    assert admin_token(None, {VARIABLE: other}) == other
    assert admin_token(None, {}) is None


@pytest.mark.parametrize(
    "text", ["", "short", "x" * (SHORTEST - 1), "  " + "x" * (SHORTEST - 1), "ü" * 40, "x\ty" * 20]
)
def test_a_token_that_could_be_guessed_or_typed_wrongly_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="24 ASCII characters or more; make one with") as found:
        admin_token(file)
    assert str(found.value).startswith(str(file))
    with pytest.raises(ConfigError, match=f"^{VARIABLE}"):
        admin_token(None, {VARIABLE: text})


def test_a_file_that_cannot_be_read_or_that_others_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with pytest.raises(ConfigError, match="cannot be read"):
        admin_token(file)
    file.write_text(TOKEN)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        admin_token(file)
    file.write_bytes(b"\xff\xfe" * 40)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="no text"):
        admin_token(file)


def test_a_session_ends_by_time_and_by_logging_out() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    first, second = sessions.begin(), sessions.begin()
    assert sessions.of(first) is not None
    assert sessions.of(first) != sessions.of(second)
    sessions.end(first)
    assert sessions.of(first) is None
    clock.now += HOURS * 3600
    assert sessions.of(second) is None
    assert sessions.of("") is sessions.of("\udcff") is None


def test_only_so_many_sessions_are_kept() -> None:
    sessions = Sessions(Clock())
    first, *others = [sessions.begin() for _ in range(65)]
    assert sessions.of(first) is None
    assert all(sessions.of(cookie) for cookie in others)


def test_ten_wrong_tokens_a_minute_from_an_address_and_no_more() -> None:
    clock = Clock()
    door = Door(TOKEN, clock)
    for _ in range(10):
        assert door.wait("here") == 0
        assert not door.opens("wrong", "here")
        clock.now += 1
    assert door.wait("here") == 50
    assert door.wait("elsewhere") == 0
    clock.now += 50
    assert door.wait("here") == 0
    assert door.opens(TOKEN, "here")


def test_right_tokens_do_not_count_and_odd_ones_are_only_wrong() -> None:
    door = Door(TOKEN, Clock())
    assert all(door.opens(TOKEN, "here") for _ in range(20))
    assert door.wait("here") == 0
    assert not any(door.opens(odd, "here") for odd in ("", TOKEN[:-1], TOKEN + "\n", "\udcff", "\0", "ü"))


def test_the_addresses_remembered_are_bounded() -> None:
    door = Door(TOKEN, Clock())
    for number in range(5000):
        door.opens("wrong", str(number))
    assert len(door._wrong) == 4096
