from __future__ import annotations

import io
import itertools
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from conftest import RESOURCE

import keybound
import keybound.aio
from keybound import ManagedIdentityClient, ResourceClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder import Recorder

    from keybound import BoundCalls
    from keybound.emulator import Emulator

pytest_plugins = ["recorder"]
QUERY = "api-version=7.4"


@pytest.fixture
def vault(warm_client: ManagedIdentityClient) -> ResourceClient:
    return warm_client.resource(RESOURCE)


def secret(emulator: Emulator, name: str = "db") -> str:
    return f"{emulator.vault}/secrets/{name}?{QUERY}"


def test_a_call(emulator: Emulator, vault: ResourceClient) -> None:
    with vault.get(secret(emulator)) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"] == response.headers["content-type"]
        assert "content-TYPE" in response.headers
        assert response.json()["value"] == "correct horse"
        assert response.token is not None
        assert response.token.token_type == "mtls_pop"
        assert response.tls["certificate_requested"] is True
        assert response.tls["version"] == "TLSv1.2"
        assert response.raise_for_status() is response
    (record,) = [record for record in emulator.records() if record["leg"] == "vault"]
    assert record["client_certificate"] == response.token.certificate.x5t_s256  # type: ignore[union-attr]
    assert record["headers"]["authorization"].startswith("mtls_pop")


def test_methods_and_bodies(emulator: Emulator, vault: ResourceClient) -> None:
    url = f"{emulator.vault}/secrets/bodies"
    assert vault.put(url, params={"api-version": "7.4"}, json={"value": "a"}).raise_for_status().json()["value"] == "a"
    json = {"Content-Type": "application/json"}
    full = f"{url}?{QUERY}"
    assert vault.put(full, headers=json, content=b'{"value":"b"}').json()["value"] == "b"
    assert vault.put(full, headers=json, content='{"value":"é"}').json()["value"] == "é"
    assert vault.get(full).json()["value"] == "é"
    assert vault.delete(full).status_code in (200, 404, 405)
    assert vault.head(full).read() == b""
    assert vault.request("OPTIONS", full).status_code >= 400
    with pytest.raises(TypeError):
        vault.put(full, json={}, content=b"x")


def parts() -> Iterator[bytes]:
    yield b'{"value":"'
    yield b""
    yield b"streamed"
    yield b'"}'


@pytest.mark.parametrize("length", [None, 20])
def test_streamed_uploads(emulator: Emulator, vault: ResourceClient, length: int | None) -> None:
    headers = {"Content-Type": "application/json"}
    if length:
        headers["Content-Length"] = str(length)
    # Its connection has a certificate already: the server reads the body.
    vault.get(secret(emulator)).read()
    for content in (parts(), io.BytesIO(b"".join(parts())), list(parts())):
        answer = vault.put(secret(emulator, "streamed"), headers=headers, content=content)
        assert answer.raise_for_status().json()["value"] == "streamed"


def test_a_failing_upload_is_not_a_whole_one(emulator: Emulator, vault: ResourceClient) -> None:
    vault.get(secret(emulator)).read()

    def failing() -> Iterator[bytes]:
        yield b'{"value":"half'
        raise LookupError("the source of the body")

    with pytest.raises(LookupError):
        vault.put(secret(emulator, "half"), headers={"Content-Type": "application/json"}, content=failing())
    assert vault.get(secret(emulator, "half")).status_code == 404
    malformed: list[Any] = [[1], 7]
    for wrong in malformed:
        with pytest.raises(TypeError):
            vault.put(secret(emulator, "half"), content=wrong)


def test_large_responses_arrive_in_parts(emulator: Emulator, vault: ResourceClient) -> None:
    emulator.inject("vault=oversized:3000000*2")
    with vault.get(secret(emulator)) as response:
        chunks = list(response.iter_bytes())
        assert len(chunks) > 1
        assert sum(map(len, chunks)) == 3_000_000
        assert list(response.iter_bytes()) == []
        for again in (response.read, response.text, response.json):
            with pytest.raises(ValueError, match="read before, in parts"):
                again()
    with vault.get(secret(emulator)) as response, pytest.raises(keybound.ServiceRefused) as caught:
        response.read(1000)
    assert caught.value.code == "response_too_large"


@pytest.mark.parametrize("length", ["x", "-1", "1_0", "5, 5", "٣", "", "9" * 30])
def test_lengths_that_are_no_numbers(emulator: Emulator, vault: ResourceClient, length: str) -> None:
    with pytest.raises(keybound.InvalidRequest, match="Content-Length"):
        vault.put(secret(emulator), headers={"Content-Length": length}, content=iter([b"12345"]))
    assert emulator.counts().get("vault") is None


def test_limits_of_bodies(emulator: Emulator, vault: ResourceClient) -> None:
    with vault.get(secret(emulator)) as response:
        with pytest.raises(ValueError, match="negative"):
            response.read(-1)
        with pytest.raises(TypeError, match="limit is a number of bytes, not NoneType"):
            response.read(None)  # type: ignore[arg-type]
        assert response.read(2**80)


def test_a_response_can_be_left(emulator: Emulator, vault: ResourceClient) -> None:
    emulator.inject("vault=oversized:3000000*1")
    with vault.get(secret(emulator)) as response:
        assert next(response.iter_bytes())
    with pytest.raises(ValueError, match="closed"):
        response.read()
    assert vault.get(secret(emulator)).json()["value"] == "correct horse"


def test_errors_of_the_resource(emulator: Emulator, vault: ResourceClient) -> None:
    response = vault.get(secret(emulator, "absent"))
    assert response.status_code == 404
    messages = set()
    for _ in range(2):
        with pytest.raises(keybound.ServiceRefused) as caught:
            response.raise_for_status()
        assert caught.value.status == 404
        assert caught.value.service["error"] == "SecretNotFound"
        messages.add(str(caught.value))
    assert len(messages) == 1
    # The body can be logged, before and after.
    assert response.json()["error"]["code"] == "SecretNotFound"
    with pytest.raises(keybound.ServiceRefused) as caught:
        response.raise_for_status()
    assert (caught.value.status, caught.value.service["error"]) == (404, "SecretNotFound")
    in_parts = vault.get(secret(emulator, "absent"))
    assert b"SecretNotFound" in b"".join(in_parts.iter_bytes())
    with pytest.raises(keybound.ServiceRefused) as caught:
        in_parts.raise_for_status()
    assert caught.value.status == 404


def test_bodies_are_read_again(emulator: Emulator, vault: ResourceClient) -> None:
    with vault.get(secret(emulator)) as response:
        body = response.read()
    assert response.json()["value"] == "correct horse"
    assert response.text() == body.decode()
    assert list(response.iter_bytes()) == [body]
    assert response.read() == body
    # A part that was taken is not part of what is read afterwards.
    emulator.inject("vault=oversized:3000000*1")
    with vault.get(secret(emulator)) as response:
        part = next(response.iter_bytes())
        assert len(response.read()) == 3_000_000 - len(part)
        with pytest.raises(ValueError, match="read before, in parts"):
            response.read()
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            response = vault.get(secret(emulator))
            for found in threads.map(partial(_read, response), range(4)):
                assert found in (body[:7], "the response is being read, or its reading was cancelled")


def _read(response: keybound.Response, _: int) -> object:
    try:
        return response.read()[:7]
    except RuntimeError as error:
        return str(error)


def test_bodies_are_not_in_errors(emulator: Emulator, vault: ResourceClient) -> None:
    emulator.inject("vault=garbage*1")
    with pytest.raises(keybound.ServiceRefused) as caught:
        vault.get(secret(emulator)).json()
    assert caught.value.code == "invalid_response"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_broken_connections_are_not_retried(emulator: Emulator, vault: ResourceClient) -> None:
    vault.get(secret(emulator)).read()
    emulator.reset()
    emulator.inject("vault=close")
    with pytest.raises(keybound.KeyboundError) as caught:
        vault.post(secret(emulator), content=b"{}")
    assert caught.value.may_have_been_sent
    assert emulator.counts()["vault"] == 1


def test_bodies_shorter_than_their_length(emulator: Emulator, vault: ResourceClient) -> None:
    with pytest.raises(keybound.KeyboundError) as caught:
        vault.put(secret(emulator), headers={"Content-Length": "5"}, content=iter([b"123"]))
    assert caught.value.may_have_been_sent
    assert "nothing was sent" not in caught.value.next_step


def test_timeouts(emulator: Emulator, vault: ResourceClient) -> None:
    emulator.inject("vault=hang*1")
    with pytest.raises(keybound.DeadlineReached) as caught:
        vault.get(secret(emulator), timeout=1)
    assert caught.value.may_have_been_sent
    assert caught.value.stage == "resource"


def test_a_slow_source_is_not_a_slow_service(recorder: Recorder, calls: BoundCalls) -> None:
    def slow() -> Iterator[bytes]:
        yield b"first"
        assert recorder.was_left.wait(20)
        yield b"second"

    with pytest.raises(keybound.DeadlineReached, match="caller produced the next part") as caught:
        calls.send("PUT", recorder.origin, content=slow(), timeout=2)
    assert caught.value.may_have_been_sent


@pytest.mark.parametrize(
    ("url", "headers"),
    [("http://127.0.0.1/", {}), ("nonsense", {}), ("https://127.0.0.1/", {"a\nb": "c"}), ("https://127.0.0.1/", {"a": "b\r\nc"})],
)
def test_malformed_requests(vault: ResourceClient, url: str, headers: dict[str, str]) -> None:
    with pytest.raises(keybound.InvalidRequest) as caught:
        vault.get(url, headers=headers)
    assert not caught.value.may_have_been_sent


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("method", 5, "method is a str, such as 'GET', not int"),
        ("url", None, "url is a str, not NoneType"),
        ("url", b"https://127.0.0.1/", "url is a str, not bytes"),
        ("timeout", "5", "timeout is a number of seconds, or None, not str"),
        ("headers", {"a": 5}, "headers are pairs of name and value, each a str"),
        ("headers", [("a", "b", "c")], "headers are pairs of name and value, each a str"),
        ("headers", "a: b", "headers are pairs of name and value, each a str"),
    ],
)
def test_arguments_of_another_type(vault: ResourceClient, argument: str, value: object, message: str) -> None:
    arguments: dict[str, Any] = {"method": "GET", "url": "https://127.0.0.1/", argument: value}
    with pytest.raises(TypeError) as caught:
        vault.request(**arguments)
    assert str(caught.value) == message


async def test_options_are_typed(vault: ResourceClient) -> None:
    # Type checkers report an ignored error that is none.
    for call in (vault.get, vault.head, vault.post, vault.put, vault.patch, vault.delete):
        with pytest.raises(TypeError, match="header"):
            call("https://127.0.0.1/", header={})  # type: ignore[call-arg]
    resource = keybound.aio.ManagedIdentityClient().resource(RESOURCE)
    with pytest.raises(TypeError, match="header"):
        await resource.get("https://127.0.0.1/", header={})  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="timeout is a number of seconds, or None, not str"):
        vault.get("https://127.0.0.1/", timeout="5")  # type: ignore[arg-type]


def test_redirects(emulator: Emulator, warm_client: ManagedIdentityClient) -> None:
    emulator.inject(f"vault=redirect:{secret(emulator)}*1")
    assert warm_client.resource(RESOURCE).get(secret(emulator)).status_code == 200
    emulator.inject(f"vault=redirect:{secret(emulator)}*1", f"vault=redirect:{emulator.graph}/*1")
    not_followed = warm_client.resource(RESOURCE, follow_redirects=False).get(secret(emulator))
    assert not_followed.status_code == 307
    elsewhere = warm_client.resource(RESOURCE).get(secret(emulator))
    assert elsewhere.status_code == 307
    assert "graph" not in emulator.counts()


def test_claims_challenges_are_answered(emulator: Emulator, client: ManagedIdentityClient) -> None:
    vault = client.resource(RESOURCE)
    assert vault.get(secret(emulator)).status_code == 200
    emulator.inject("vault=claims-challenge*1")
    assert vault.get(secret(emulator)).status_code == 200
    assert emulator.counts()["token"] == 2


def test_plain_bearer_tokens(emulator: Emulator, warm_client: ManagedIdentityClient) -> None:
    response = warm_client.bearer_resource(RESOURCE).get(secret(emulator))
    assert response.token is not None
    assert response.token.token_type == "Bearer"
    (record,) = [record for record in emulator.records() if record["leg"] == "vault"]
    assert record["client_certificate"] is None


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
def test_the_timeout_ends_an_upload_that_the_server_does_not_read(
    recorder: Recorder, recorder_certificate: Path, emulator: Emulator, status: str
) -> None:
    settings = emulator.client_settings
    settings["loopback_ca_pem"] += recorder_certificate.read_bytes()
    recorder.respond_early(status, b"ok", stops=True)
    client = ManagedIdentityClient(**settings)
    client.acquire_token(RESOURCE)
    resource = client.resource(RESOURCE)
    # More than the buffers of the connection.
    parts = itertools.repeat(bytes(1 << 20), 200)
    try:
        if status.startswith("2"):
            with pytest.raises(keybound.DeadlineReached, match="service read the body"):
                resource.put(recorder.origin, content=parts, timeout=1)
        else:
            assert resource.put(recorder.origin, content=parts, timeout=1).status_code == 400
    finally:
        recorder.resume()
