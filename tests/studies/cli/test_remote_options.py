"""Options of `simkit scan` for a model behind a network; other commands load no HTTP client."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from studies.cli.main import main
from studies.cli.remote_options import with_remote

ROOT = Path(__file__).resolve().parents[3]


def test_options_replace_settings_of_a_file_one_by_one() -> None:
    given = {"budget": 9, "remote": {"in_flight": 2, "pace": "1/second"}}
    assert with_remote(given, {"in_flight": 8, "endpoint": None})["remote"] == {"in_flight": 8, "pace": "1/second"}
    assert with_remote({"budget": 9}, {"in_flight": None}) == {"budget": 9}


NOWHERE = "https://127.0.0.1:9/v2/models/net"
WRONG: list[tuple[list[str], str]] = [
    ([NOWHERE, "--api-key-env", "NO_SUCH_VARIABLE"], "the environment variable NO_SUCH_VARIABLE is not set"),
    ([NOWHERE, "--api-key-env", "NO_SUCH_VARIABLE"], "`export NO_SUCH_VARIABLE=...`"),
    ([NOWHERE, "--api-key-file", "/no/such/file"], "cannot read the API key: there is no file"),
    ([NOWHERE, "--api-key-file", "/proc"], "cannot read the API key in /proc"),
    ([NOWHERE, "--api-key-env", "A", "--api-key-file", "B"], "exclude each other"),
    ([NOWHERE, "--in-flight", "65"], "remote.in_flight"),
    ([NOWHERE, "--pace", "fast"], "not a rate limit"),
    ([NOWHERE, "--class-names", "/no/such/file"], "cannot read the names of the classes"),
    ([NOWHERE, "--endpoint", "https://host"], "endpoint is for rekognition"),
    ([NOWHERE, "-s", "remote.inflight=3"], "did you mean 'in_flight'?"),
    ([NOWHERE, "--output", "logits"], "output is for models in this process"),
    (["https://user:secret@host/v2/models/net"], "an address with a user"),
    (["https://host/v2/models/net?code=secret"], "an address with a user, a `?`"),
    (["127.0.0.1:8765/v2/models/mine"], "write http:// (or https://) before it"),
    (["models.example/v2/models/mine"], "write http:// (or https://) before it"),
    (["localhost:8765/models/mine"], "write http:// (or https://) before it"),
    (["[::1]:8765/v2/models/mine:7"], "write http:// (or https://) before it"),
    (["https://host/models/net"], "names no model of the Open Inference Protocol"),
    (["hf:host/model"], "is no address"),
    (["hf:https://host"], "has no path"),
    (["rekognition:net"], "is no ARN"),
    (["vertex:https://host/endpoints/1"], "names no endpoint"),
    (["clarifai:https://host/models/1"], "names no model"),
    (["template:/no/such.toml"], "cannot read the template"),
]


@pytest.mark.parametrize(("given", "said"), WRONG, ids=lambda value: str(value)[:60])
def test_what_is_wrong_is_one_line_before_anything_is_sent(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMKIT_HOME", str(tmp_path))
    assert main(["scan", *given, "--data", "digits", "--budget", "100"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "secret" not in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


KEYS = (
    "sk-proj-4f9a81c2",
    "hf_aBcDeFgHiJkLmNoPqRsTuVwXyZ01234567",
    "d41d8cd98f00b204e9800998ecf8427e",
    "f41d8cd98f00b204e9800998ecf8427e",
    "AKIAIOSFODNN7:wJalrXUtnFEMI/K7MDENG",
    "eyJhbGciOiJIUzI1NiJ9.e30.abc",
    "/9j+4AAQ==",
)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("option", ["--api-key-env", "--api-key-file"])
@pytest.mark.parametrize("set_by", ["{option}={key}", "-sremote.{setting}={key}"])
def test_a_key_in_place_of_its_name_is_not_shown(
    set_by: str, option: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = set_by.format(option=option, key=key, setting=option.removeprefix("--api-").replace("-", "_"))
    assert main(["scan", NOWHERE, given, "--data", "digits", "--budget", "100"]) == 2
    err = capsys.readouterr().err
    assert "not the key itself" in err
    assert key not in err
    assert len(err.splitlines()) == 1


def test_a_key_is_not_sent_in_the_open(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "sk-secret-key")
    target = "http://models.example/v2/models/net"
    assert main(["scan", target, "--data", "digits", "--budget", "9", "--api-key-env", "KEY"]) == 2
    err = capsys.readouterr().err
    assert "everybody on the way could read the key" in err
    assert "sk-secret" not in err


@pytest.mark.process
@pytest.mark.parametrize("command", [["--help"], ["scan", "--help"], ["db", "runs", "none.db"]])
def test_other_commands_load_no_http_client(command: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from studies.cli.main import main\n"
        f"try:\n    main({command!r})\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('httpx2', 'torch', 'jsonpath') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
