"""Unmodified clients of four providers ask `simkit serve`: answers, limits, a lost reply, and sums that are exact."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from db.check import check
from oracles.answers import Scores
from oracles.wire import registry
from oracles.wire.pictures import to_png
from studies.service.keys import NewKey
from tests.studies.service.running import Running, Way, running, way_to
from tests.studies.service.served import ABOUT, CLASSES, IMAGE, ORACLE

pytestmark = pytest.mark.process

PNG = to_png(IMAGE[0])
PROJECT = "5b9ac8a4-0d0e-4b0a-8f0c-000000000000"
ARN = "arn:aws:rekognition:us-east-1:000000000000:project/m/version/m/1"
AGAIN = {"Idempotency-Key": "call-1"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    with running(folder) as found:
        yield found
        code, told = found.stop()
        assert (code, "the ledger is closed" in told) == (0, True)
        assert (folder / "errors").read_text() == ""
    assert check(folder / "provider.db") == []


@pytest.fixture
def way(service: Running) -> Iterator[Way]:
    with way_to(service.url) as found:
        yield found


def scores() -> dict[str, float]:
    answer = ORACLE.query(torch.from_numpy(IMAGE))
    assert isinstance(answer, Scores)
    return dict(zip(CLASSES, answer.values[0].tolist(), strict=True))


def limited(service: Running) -> tuple[NewKey, NewKey, NewKey]:
    """Keys with a budget of 2, with one query an hour, and without a limit."""
    return service.key(budget=2), service.key(rate="1/hour"), service.key()


def test_tritonclient(service: Running, way: Way) -> None:
    triton: Any = pytest.importorskip("tritonclient.http", reason="tritonclient is not installed")
    utils: Any = pytest.importorskip("tritonclient.utils")
    client = triton.InferenceServerClient(way.url.removeprefix("http://"))
    given = triton.InferInput("images", list(IMAGE.shape), "FP32")
    given.set_data_from_numpy(IMAGE)

    def ask(key: NewKey, **headers: str) -> Any:
        sent = {"Authorization": f"Bearer {key.text}", **{n.replace("_", "-"): v for n, v in headers.items()}}
        return client.infer("m", [given], headers=sent)

    paid, slow, free = limited(service)
    assert client.is_server_live()
    assert client.is_model_ready("m")
    for _ in range(2):
        np.testing.assert_allclose(ask(paid).as_numpy("scores")[0], list(scores().values()), atol=1e-6)
    ask(slow)
    for key, status in ((paid, "403"), (slow, "429"), (_other(free), "401")):
        with pytest.raises(utils.InferenceServerException) as caught:
            ask(key)
        assert caught.value.status() == status
    way.lost = 1
    with pytest.raises(pytest.importorskip("geventhttpclient.response").HTTPConnectionClosed):
        ask(free, Idempotency_Key="call-1")
    assert ask(free, Idempotency_Key="call-1").as_numpy("scores").shape == (1, 5)
    assert [service.spent(key) for key in (paid, slow, free)] == [2, 1, 1]


def _other(key: NewKey) -> NewKey:
    return replace(key, text=key.text[:-3] + "xyz", aws_secret="x" * 40)


def test_huggingface_hub(service: Running, way: Way) -> None:
    hub: Any = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

    def ask(key: NewKey, headers: dict[str, str] | None = None) -> dict[str, float]:
        client = hub.InferenceClient(model=f"{way.url}/models/m", token=key.text, headers=headers)
        return {entry.label: entry.score for entry in client.image_classification(PNG)}

    paid, slow, free = limited(service)
    assert ask(paid) == pytest.approx(scores(), abs=1e-6)
    ask(paid)
    ask(slow)
    for key, status in ((paid, 402), (slow, 429), (_other(free), 401)):
        with pytest.raises(hub.errors.HfHubHTTPError) as caught:
            ask(key)
        assert caught.value.response.status_code == status
        assert ("Retry after" in str(caught.value)) == (status == 429)
    way.lost = 1
    with pytest.raises(pytest.importorskip("httpx2").RemoteProtocolError):
        ask(free, AGAIN)
    assert len(ask(free, AGAIN)) == 5
    assert [service.spent(key) for key in (paid, slow, free)] == [2, 1, 1]


def test_boto3(service: Running, way: Way) -> None:
    """It tries again itself, under one invocation id: a lost reply is neither seen nor paid for."""
    boto3: Any = pytest.importorskip("boto3", reason="boto3 is not installed")

    def client(key: NewKey) -> Any:
        secrets = {"aws_access_key_id": key.key.id, "aws_secret_access_key": key.aws_secret}
        return boto3.client("rekognition", endpoint_url=way.url, region_name="us-east-1", **secrets)

    def ask(key: NewKey) -> dict[str, float]:
        labels = client(key).detect_custom_labels(ProjectVersionArn=ARN, Image={"Bytes": PNG}, MinConfidence=0)
        return {label["Name"]: label["Confidence"] / 100.0 for label in labels["CustomLabels"]}

    paid, slow, free = limited(service)
    assert ask(paid) == pytest.approx(scores(), abs=1e-6)
    ask(paid)
    with pytest.raises(client(paid).exceptions.AccessDeniedException):
        ask(paid)
    with pytest.raises(client(paid).exceptions.ClientError, match="InvalidSignatureException"):
        ask(_other(free))
    way.lost = 1
    assert len(ask(free)) == 5
    assert [service.spent(key) for key in (paid, free)] == [2, 1]
    config: Any = pytest.importorskip("botocore.config").Config(retries={"total_max_attempts": 1})
    once = boto3.client(
        "rekognition",
        endpoint_url=way.url,
        region_name="us-east-1",
        config=config,
        aws_access_key_id=slow.key.id,
        aws_secret_access_key=slow.aws_secret,
    )
    asked = {"ProjectVersionArn": ARN, "Image": {"Bytes": PNG}}
    once.detect_custom_labels(**asked)
    with pytest.raises(once.exceptions.ThrottlingException):
        once.detect_custom_labels(**asked)
    assert service.spent(slow) == 1


def test_azure_custom_vision(service: Running, way: Way) -> None:
    reason = "azure-cognitiveservices-vision-customvision is not installed"
    azure: Any = pytest.importorskip("azure.cognitiveservices.vision.customvision.prediction", reason=reason)
    authentication: Any = pytest.importorskip("msrest.authentication")

    def ask(key: NewKey, headers: dict[str, str] | None = None) -> dict[str, float]:
        credentials = authentication.ApiKeyCredentials(in_headers={"Prediction-key": key.text})
        client = azure.CustomVisionPredictionClient(way.url, credentials)
        found = client.classify_image(PROJECT, "m", PNG, custom_headers=headers).predictions
        return {entry.tag_name: entry.probability for entry in found}

    paid, slow, free = limited(service)
    assert ask(paid) == pytest.approx(scores(), abs=1e-6)
    ask(paid)
    ask(slow)
    for key, status in ((paid, 403), (slow, 429), (_other(free), 401)):
        with pytest.raises(azure.models.CustomVisionErrorException) as caught:
            ask(key)
        assert caught.value.response.status_code == status
    way.lost = 1
    with pytest.raises(pytest.importorskip("msrest.exceptions").ClientRequestError):
        ask(free, AGAIN)
    assert len(ask(free, AGAIN)) == 5
    assert [service.spent(key) for key in (paid, slow, free)] == [2, 1, 1]


def posted(service: Running, key: NewKey, images: int, **headers: str) -> int:
    """The status of a call about so many images."""
    request = registry.wire("oip").ask(np.repeat(IMAGE, images, axis=0), ABOUT, key.text)
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=60)
    given = {**request.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request("POST", request.target, request.body, given)
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status


def test_a_budget_is_never_overspent_by_calls_side_by_side(service: Running) -> None:
    keys = [service.key(budget=20) for _ in range(4)]
    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(lambda number: posted(service, keys[number % 4], 3), range(40)))
    assert [service.spent(key) for key in keys] == [18] * 4
    assert (statuses.count(200), statuses.count(403)) == (24, 16)


def test_calls_that_arrive_in_another_order_are_put_in_theirs(service: Running) -> None:
    key = service.key()
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(posted, service, key, 2, simkit_first_query=str(2 * at)) for at in reversed(range(8))]
        assert [call.result() for call in calls] == [200] * 8
    assert service.spent(key) == 16


def test_twins_are_answered_once(service: Running) -> None:
    key = service.key()
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(posted, service, key, 2, idempotency_key="twin") for _ in range(8)]
        assert [call.result() for call in calls] == [200] * 8
    assert service.spent(key) == 2


def test_another_process_on_the_ledger_is_refused(service: Running, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "studies.cli.entry", "db", "upgrade", str(service.folder / "provider.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert "Traceback" not in done.stderr
