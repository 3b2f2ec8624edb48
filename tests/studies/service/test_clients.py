"""Unmodified clients of seven providers ask `simkit serve`: answers, limits, a lost reply, and sums that are exact."""

from __future__ import annotations

import base64
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
from tests.studies.service.running import Running, Way, awaited, running, way_to
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


def test_kserve(service: Running, way: Way) -> None:
    """It sends bytes, and draws an id for each request that is not given one, which makes a retry another request."""
    kserve: Any = pytest.importorskip("kserve", reason="kserve is not installed")
    httpx: Any = pytest.importorskip("httpx")

    def ask(key: NewKey, **headers: str) -> Any:
        given = kserve.InferInput("images", list(IMAGE.shape), "FP32")
        given.set_data_from_numpy(IMAGE, binary_data=True)
        sent = {"Authorization": f"Bearer {key.text}", **{n.replace("_", "-"): v for n, v in headers.items()}}

        async def asked() -> Any:
            client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2", retries=0))
            request = kserve.InferRequest("m", [given], request_id="1")
            try:
                return await client.infer(way.url, request, model_name="m", headers=sent)
            finally:
                await client.close()

        return awaited(asked()).outputs[0].as_numpy()

    paid, slow, free = limited(service)
    for _ in range(2):
        np.testing.assert_allclose(ask(paid)[0], list(scores().values()), atol=1e-6)
    ask(slow)
    for key, status in ((paid, 403), (slow, 429), (_other(free), 401)):
        with pytest.raises(httpx.HTTPStatusError) as caught:
            ask(key)
        assert caught.value.response.status_code == status
        assert ("retry-after" in caught.value.response.headers) == (status == 429)
    way.lost = 1
    with pytest.raises(httpx.RemoteProtocolError):
        ask(free, Idempotency_Key="call-1")
    assert ask(free, Idempotency_Key="call-1").shape == (1, 5)
    assert [service.spent(key) for key in (paid, slow, free)] == [2, 1, 1]


def test_google_aiplatform(service: Running, way: Way) -> None:
    reason = "google-cloud-aiplatform is not installed"
    services: Any = pytest.importorskip("google.cloud.aiplatform_v1.services.prediction_service", reason=reason)
    errors: Any = pytest.importorskip("google.api_core.exceptions")
    endpoint = "projects/p/locations/l/endpoints/m"
    instances = [{"content": base64.b64encode(PNG).decode()}]

    def ask(key: NewKey, headers: dict[str, str] | None = None) -> dict[str, float]:
        options = {"api_endpoint": way.url, "api_key": key.text}
        client = services.PredictionServiceClient(transport="rest", client_options=options)
        reply = client.predict(endpoint=endpoint, instances=instances, metadata=tuple((headers or {}).items()))
        (found,) = reply.predictions
        return dict(zip(found["displayNames"], found["confidences"], strict=True))

    paid, slow, free = limited(service)
    assert ask(paid) == pytest.approx(scores(), abs=1e-6)
    ask(paid)
    ask(slow)
    refusals = ((paid, errors.Forbidden), (slow, errors.TooManyRequests), (_other(free), errors.Unauthorized))
    for key, kind in refusals:
        with pytest.raises(kind):
            ask(key)
    way.lost = 1
    with pytest.raises(pytest.importorskip("requests.exceptions").ConnectionError):
        ask(free, AGAIN)
    assert len(ask(free, AGAIN)) == 5
    assert [service.spent(key) for key in (paid, slow, free)] == [2, 1, 1]


def test_clarifai(service: Running, way: Way) -> None:
    """Its JSON channel raises for no status, and sends no header of its caller's but those of the session."""
    reason = "clarifai-grpc is not installed"
    channels: Any = pytest.importorskip("clarifai_grpc.channel.clarifai_channel", reason=reason)
    grpc: Any = pytest.importorskip("clarifai_grpc.grpc.api.service_pb2_grpc")
    messages: Any = pytest.importorskip("clarifai_grpc.grpc.api.service_pb2")
    resources: Any = pytest.importorskip("clarifai_grpc.grpc.api.resources_pb2")

    def ask(key: NewKey, headers: dict[str, str] | None = None) -> Any:
        channel = channels.ClarifaiChannel.get_json_channel(base_url=way.url)
        channel.session.headers.update(headers or {})
        picture = resources.Input(data=resources.Data(image=resources.Image(base64=PNG)))
        owner = resources.UserAppIDSet(user_id="u", app_id="a")
        request = messages.PostModelOutputsRequest(user_app_id=owner, model_id="m", inputs=[picture])
        return grpc.V2Stub(channel).PostModelOutputs(request, metadata=(("authorization", f"Key {key.text}"),))

    paid, slow, free = limited(service)
    concepts = ask(paid).outputs[0].data.concepts
    assert {concept.name: concept.value for concept in concepts} == pytest.approx(scores(), abs=1e-6)
    ask(paid)
    ask(slow)
    spent, throttled, unknown = 11006, 11005, 11009  # CONN_EXCEEDS_LIMITS, CONN_THROTTLED, CONN_KEY_NOT_FOUND
    assert [ask(key).status.code for key in (paid, slow, _other(free))] == [spent, throttled, unknown]
    way.lost = 1
    with pytest.raises(pytest.importorskip("clarifai_grpc.channel.errors").ApiError):
        ask(free, AGAIN)
    assert len(ask(free, AGAIN).outputs[0].data.concepts) == 5
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
