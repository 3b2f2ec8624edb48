"""The remote oracle against a service over HTTP: answers in order, faults on the way, refusals, what was billed."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from oracles.answers import Answer, Scores, TopK, encode, top_label
from oracles.errors import BudgetExhausted, ModelError, OracleError, Refused, Unanswered
from oracles.oracle import Oracle
from oracles.partial import carried
from oracles.remote import RemoteOracle, caller, remote
from oracles.remote.exchange import MemoryAttempts, perhaps_billed_twice
from oracles.restrict import KeepTopK, LabelOnly, Quantized, Rounded, ScoreNoise, Thresholded
from oracles.wire.bodies import json_reply
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Kind, Problem, Question
from oracles.wire.huggingface import HuggingFace
from oracles.wire.oip import OpenInference
from oracles.wire.registry import wire
from tests.oracles.fakes import LinearOracle as Linear
from tests.remote_server import FAULTS, Behaviour, TestService, seeded, serving

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "FIRST_WAIT", 0.002)
    monkeypatch.setattr(caller, "UNREACHED", 0.2)


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand((count, 3, 4, 4), generator=torch.Generator().manual_seed(seed))


def scores(asked: torch.Tensor) -> Any:
    answer = Linear().query(asked)
    assert isinstance(answer, Scores)
    return answer.values


def of(service: TestService, **settings: Any) -> RemoteOracle:
    return remote(service.url, **settings)


ANSWERS: dict[str, Callable[[Oracle], Oracle]] = {
    "scores": lambda o: o,
    "top2": lambda o: KeepTopK(o, 2),
    "label": LabelOnly,
    "rounded": lambda o: Rounded(o, 2),
    "thresholded": lambda o: Thresholded(o, 0.3),
    "noisy": lambda o: ScoreNoise(o, 0.1, 3),
}


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("in_flight", [1, 8])
def test_answers_are_those_of_the_model_in_their_order(kind: str, in_flight: int) -> None:
    wanted = ANSWERS[kind](Linear()).query(images(60))
    with serving(ANSWERS[kind](Linear()), max_batch=7) as service:
        oracle = of(service, in_flight=in_flight)
        assert (oracle.n_classes, oracle.image_shape) == (5, (3, 4, 4))
        assert encode(oracle.query(images(60))) == encode(wanted)
        assert service.spent == 60
        assert max(service.seen) == 7


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("in_flight", [1, 8])
def test_a_fault_in_a_third_of_the_calls_changes_nothing(fault: str, in_flight: int) -> None:
    noisy = ScoreNoise(Linear(), 0.1, 3)
    wanted = [ScoreNoise(Linear(), 0.1, 3, 50 * n).query(images(50, n)) for n in range(4)]
    with serving(noisy, Behaviour(fails=seeded(0.3, 5, (fault,))), max_batch=4) as service:
        oracle = of(service, in_flight=in_flight)
        got = [oracle.query(images(50, n)) for n in range(4)]
        assert [encode(answer) for answer in got] == [encode(answer) for answer in wanted]
        assert service.spent == 200
        assert len(service.requests) > 52 or fault == "slow"
        assert oracle.notes == ()


def test_calls_are_side_by_side_once_the_first_is_answered() -> None:
    released = threading.Barrier(4, timeout=5.0)

    def before(request: HttpRequest) -> HttpReply | None:
        first = request.headers.get("simkit-first-query")
        if first not in (None, "0"):
            released.wait()
        return None

    with serving(Linear(), Behaviour(before=before), max_batch=2) as service:
        oracle = of(service, in_flight=4)
        oracle.query(images(2))
        assert len(oracle.query(images(8))) == 8  # the barrier opens only if all four calls are there


def test_a_service_that_knows_no_keys_may_bill_twice_and_the_notes_say_so() -> None:
    plain = Behaviour(idempotent=False, says=False, ordered=False)
    plain.fails = lambda number: "drop_after" if number == 2 else "drop_before" if number == 5 else None
    with serving(Linear(), plain, max_batch=10) as service:
        oracle = of(service, in_flight=1)
        assert encode(oracle.query(images(40))) == encode(Linear().query(images(40)))
        assert service.spent == 50
        (note,) = oracle.notes
        assert "2 calls of 20 images" in note


def test_an_error_carries_the_answers_before_it_and_the_rest_is_asked_for_alone() -> None:
    fails = iter([None, None, "denied", None, None])

    def before(request: HttpRequest) -> HttpReply | None:
        denied = request.method == "POST" and next(fails) == "denied"
        return json_reply({"error": "closed for today"}, 400) if denied else None

    with serving(Linear(), Behaviour(before=before), max_batch=10) as service:
        oracle = of(service, in_flight=1)
        with pytest.raises(ModelError, match="closed for today") as raised:
            oracle.query(images(40))
        part = carried(raised.value, oracle)
        assert part is not None
        assert encode(part) == encode(Linear().query(images(40)[:20]))
        assert encode(oracle.query(images(40)[20:])) == encode(Linear().query(images(40)[20:]))
        assert service.spent == 40


def test_the_budget_of_the_service_is_an_exhausted_budget() -> None:
    with serving(Linear(), Behaviour(budget=25), max_batch=10) as service:
        oracle = of(service, in_flight=1)
        with pytest.raises(BudgetExhausted) as raised:
            oracle.query(images(40))
        assert (raised.value.remaining, raised.value.wanted, raised.value.reason) == (5, 10, "budget")
        assert len(carried(raised.value, oracle) or ()) == 20


def refusing(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Behaviour:
    def before(request: HttpRequest) -> HttpReply | None:
        return json_reply(body, status, headers or {}) if request.method == "POST" else None

    return Behaviour(before=before)


REFUSALS: list[tuple[int, dict[str, Any], type[OracleError], str]] = [
    (401, {"error": "who is this"}, ModelError, "wants an API key .who is this.; name where it is with --api-key-env"),
    (403, {"error": "no", "kind": "banned"}, Refused, "refuses: no"),
    (403, {"error": "too alike", "kind": "near_duplicate"}, Refused, "too alike"),
    (402, {"error": "pay first"}, Refused, "pay first"),
    (404, {"error": "no such model"}, ModelError, "check the address"),
    (400, {"error": "strange images"}, ModelError, "strange images"),
    (307, {}, ModelError, "redirects to '[^']*'; nothing is sent there"),
    (200, {"outputs": []}, ModelError, "is it a service of the format 'oip'"),
    (200, {"nothing": 1}, ModelError, "is it a service of the format 'oip'"),
]


@pytest.mark.parametrize(("status", "body", "kind", "said"), REFUSALS)
def test_refusals_are_typed_and_say_what_to_change(
    status: int, body: dict[str, Any], kind: type[OracleError], said: str
) -> None:
    with serving(Linear(), refusing(status, body, {"location": "https://elsewhere"})) as service:
        with pytest.raises(kind, match=said) as raised:
            of(service).query(images(3))
        assert "\n" not in str(raised.value)
        assert service.spent == 0
        assert len(service.requests) <= 2  # as bytes and as JSON, never more


def test_retry_after_is_obeyed() -> None:
    told = []

    def before(request: HttpRequest) -> HttpReply | None:
        if request.method == "POST":
            told.append(time.monotonic())
            if len(told) == 1:
                return json_reply({"error": "slowly"}, 429, {"retry-after": "1"})
        return None

    with serving(Linear(), Behaviour(before=before)) as service:
        of(service).query(images(3))
    assert 1.0 <= told[1] - told[0] < 2.5


@pytest.mark.parametrize(("status", "wait"), [(429, "3600"), (503, "3600"), (503, None), (429, None)])
def test_patience_ends(status: int, wait: str | None) -> None:
    headers = {} if wait is None else {"retry-after": wait}
    with serving(Linear(), refusing(status, {"error": "later"}, headers)) as service:
        began = time.monotonic()
        with pytest.raises(Unanswered, match=r"no answer within 0.3 s \(later\)") as raised:
            of(service, patience=0.3).query(images(3))
        assert time.monotonic() - began < 2.0
        assert ("3600" in str(raised.value)) == (wait is not None)


def test_a_slow_service_is_given_up_by_its_deadline_and_asked_again() -> None:
    slow = Behaviour(slow=0.5)
    with serving(Linear(), slow) as service:
        oracle = of(service, timeout=0.2, in_flight=1)
        oracle_thread = threading.Timer(0.3, lambda: setattr(slow, "slow", 0.0))
        oracle_thread.start()
        assert len(oracle.query(images(3))) == 3
        assert (service.spent, len(service.requests) > 1) == (3, True)


def test_the_pace_is_kept() -> None:
    with serving(Linear(), max_batch=10) as service:
        oracle = of(service, pace="100/second", in_flight=4)
        began = time.monotonic()
        oracle.query(images(150))
        assert time.monotonic() - began >= 0.45
        assert service.spent == 150


@pytest.mark.parametrize(("stated", "limit"), [(True, 16), (False, 16), (False, 1)])
def test_a_batch_limit_that_is_not_stated_is_found(stated: bool, limit: int) -> None:
    def before(request: HttpRequest) -> HttpReply | None:
        if request.method == "GET":
            shape = {"name": "images", "datatype": "FP32", "shape": [-1, 3, 4, 4]}
            return json_reply({"name": "net", "inputs": [shape], "outputs": [{"name": "scores", "shape": [-1, 5]}]})
        asked = len(OpenInference().read(request, wide).images)
        if asked <= limit:
            return None
        words = f"inference request batch-size must be <= {limit} for 'net'"
        return json_reply({"error": words if stated else "payload"}, 400 if stated else 413)

    with serving(Linear(), Behaviour(before=before), max_batch=1000) as service:
        wide = service.interface
        assert encode(of(service).query(images(100))) == encode(Linear().query(images(100)))
        assert service.spent == 100


class NoBytes(OpenInference):
    """A server that reads no binary tensors, as MLServer, which answers 422 or 500, as the bytes are."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def read(self, request: HttpRequest, interface: Any) -> Any:
        if "inference-header-content-length" in request.headers:
            raise Problem(self._kind, "cannot decode")
        return super().read(request, interface)


@pytest.mark.parametrize("kind", ["unsupported", "bad_request", "invalid_images", "failed"])
def test_a_server_without_binary_tensors_is_asked_in_json_from_then_on(kind: Kind) -> None:
    with serving(Linear(), wire=NoBytes(kind), max_batch=10) as service:
        assert encode(of(service, in_flight=1).query(images(40))) == encode(Linear().query(images(40)))
        assert len(service.requests) == 5


PAID = [({1: "drop_after"}, {2: "error"}), ({1: "error", 2: "drop_after"}, {}), ({1: "drop_after", 2: "error"}, {})]
"""Faults of the first process and of the second: a 500 on the way looks like a server that reads no binary tensors."""


@pytest.mark.parametrize(("first", "second"), PAID)
def test_an_answer_that_was_paid_for_is_fetched_in_the_form_in_which_it_was_asked(
    first: dict[int, str], second: dict[int, str]
) -> None:
    with serving(Linear(), Behaviour(fails=(first | second).get), max_batch=4) as service:
        for patience in (1e-6, 60.0):  # the first process is interrupted where a reply is lost
            oracle = of(service, patience=patience)
            oracle.begin("a" * 64, 0, MemoryAttempts(), in_parts=False)
            try:
                answer = oracle.query(images(12))
            except Unanswered:
                assert patience < 1.0
        assert encode(answer) == encode(Linear().query(images(12)))
        assert service.spent == 12


def test_uint8_tensors_are_rounded_as_the_service_says() -> None:
    with serving(Linear(), datatype="UINT8") as service:
        assert encode(of(service).query(images(9))) == encode(Quantized(Linear()).query(images(9)))


def test_a_key_that_others_use_too_is_asked_in_the_order_of_arrival() -> None:
    with serving(Linear(), max_batch=5) as service:
        of(service).query(images(10))
        second = of(service)  # another run with the same key: its queries come after those before
        assert encode(second.query(images(40))) == encode(Linear().query(images(40)))
        assert (service.spent, second.notes) == (50, ())
        of(service).query(images(5))
        assert encode(second.query(images(40, 1))) == encode(Linear().query(images(40, 1)))
        assert "others used the same API key" in second.notes[0]


@pytest.mark.parametrize("name", ["hf", "rekognition", "customvision", "vertex", "clarifai"])
@pytest.mark.parametrize("restriction", ["scores", "top2", "label"])
def test_every_format_gives_the_answers_of_a_quantized_model(name: str, restriction: str) -> None:
    model = ANSWERS[restriction](Quantized(Linear()))
    arn = "arn:aws:rekognition:eu-west-1:123456789012:project/net/version/v1/1"
    classes = tuple(f"class {n}" for n in range(5))
    with serving(ANSWERS[restriction](Quantized(Linear())), wire=wire(name), max_batch=8) as service:
        host = service.url.partition("/v2")[0]
        targets = {
            "hf": f"hf:{host}/models/net",
            "rekognition": f"rekognition:{arn}",
            "customvision": f"customvision:{host}/customvision/v3.1/prediction/p/classify/iterations/net/image",
            "vertex": f"vertex:{host}/v1/projects/p/locations/l/endpoints/net",
            "clarifai": f"clarifai:{host}/v2/users/u/apps/a/models/net",
        }
        settings: dict[str, Any] = {"endpoint": host} if name == "rekognition" else {}
        oracle = remote(targets[name], image_shape=(3, 4, 4), class_names=classes, **settings)
        assert encode(oracle.query(images(20))) == encode(model.query(images(20)))
        assert service.spent == 20


def test_a_template_asks_any_other_service(tmp_path: Any) -> None:
    pytest.importorskip("jsonpath")

    def before(request: HttpRequest) -> HttpReply | None:
        if request.headers.get("x-key") != "secret-of-a-template":
            return json_reply({"message": "bad key"}, 401)
        asked = torch.tensor(json.loads(request.body)["pictures"])
        rows = scores(asked)
        return json_reply({"out": [{"p": [float(v) for v in row]} for row in rows]})

    with serving(Linear(), Behaviour(before=before)) as service:
        host = service.url.partition("/v2")[0]
        file = tmp_path / "service.toml"
        file.write_text(
            f'url = "{host}/own"\nbody = \'{{"pictures": {{images_json}}}}\'\nbatch = 6\n'
            'classes = ["a", "b", "c", "d", "e"]\nimage_shape = [3, 4, 4]\n[headers]\nx-key = "{key}"\n'
            '[answer]\nimages = "$.out[*]"\nscores = "$.p"\n'
        )
        key = tmp_path / "key"
        key.write_text("secret-of-a-template\n")
        oracle = remote(f"template:{file}", key_file=str(key))
        assert encode(oracle.query(images(20))) == encode(Linear().query(images(20)))
        assert len(service.requests) == 4


def test_the_pace_costs_no_patience() -> None:
    fails = Behaviour(fails=lambda number: "unavailable" if number == 2 else None)
    with serving(Linear(), fails, max_batch=40) as service:
        oracle = of(service, pace="100/second", patience=0.25, in_flight=1)
        assert len(oracle.query(images(120))) == 120


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    about = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    line = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    subprocess.run([*line, *about], check=True, capture_output=True)
    with serving(Linear(), certificate=(certificate, key)) as service:
        where = service.url.replace("127.0.0.1", "localhost")
        with pytest.raises(ModelError, match=r"its certificate is not trusted \(self.signed certificate\)"):
            remote(where)
        trusted = remote(where, ca_file=certificate)
        assert encode(trusted.query(images(3))) == encode(Linear().query(images(3)))
        with pytest.raises(ModelError, match="its certificate is not trusted"):
            remote(service.url, ca_file=certificate)  # of another name


def test_a_host_that_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oracles.remote.discover._PAUSE", 0.01)
    with pytest.raises(Unanswered, match=r"^no-such-host.invalid does not answer: no connection \("):
        remote("https://no-such-host.invalid/v2/models/net")


@pytest.fixture
def nowhere() -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v2/models/net"


def test_a_service_that_is_not_there_is_told_at_once(nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oracles.remote.discover._PAUSE", 0.01)
    path = nowhere.partition("/v2")[0]
    host = path.removeprefix("http://")
    said = "no connection (Connection refused); check host and port, and whether the service is running"
    with pytest.raises(Unanswered, match=f"^{re.escape(f'{host} does not answer: {said}')}$"):
        remote(nowhere)
    oracle = remote(f"customvision:{path}/image", image_shape=(3, 4, 4), n_classes=5)
    attempts = MemoryAttempts()
    oracle.begin("run", 0, attempts, in_parts=False)
    with pytest.raises(Unanswered, match=r"no connection \(Connection refused\)") as caught:
        oracle.query(images(2))
    assert str(caught.value).count(host) == 1
    assert {event.outcome for event in attempts.attempts()} == {"sent", "refused"}
    assert perhaps_billed_twice(attempts.attempts()) == (0, 0)


def test_a_service_without_tls_is_asked_by_http() -> None:
    with serving(Linear()) as service:
        where = service.url.replace("http://", "https://")
        with pytest.raises(ModelError, match=r"^127.0.0.1:\d+ does not speak TLS here: write http:// in place of"):
            remote(where)
        oracle = remote(f"customvision:{where.partition('/v2')[0]}/image", image_shape=(3, 4, 4), n_classes=5)
        with pytest.raises(ModelError, match="does not speak TLS here"):
            oracle.query(images(2))


class Plain(HuggingFace):
    """A service that says nothing of the kind of its answers."""

    def answer(self, question: Question, answer: Answer, interface: Interface) -> HttpReply:
        reply = super().answer(question, answer, interface)
        return HttpReply(200, {"content-type": "application/json"}, reply.body)


def test_answers_that_name_different_numbers_of_classes_are_one_answer() -> None:
    model = KeepTopK(Thresholded(Linear(), 0.3), 3)
    with serving(KeepTopK(Thresholded(Quantized(Linear()), 0.3), 3), Behaviour(says=False), wire=Plain()) as service:
        got = remote(f"hf:{service.url.partition('/v2')[0]}/models/net").query(images(12))
        assert np.array_equal(top_label(got), top_label(model.query(images(12))))
        assert isinstance(got, TopK)
