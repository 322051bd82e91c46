from __future__ import annotations

import gzip
import socket
import zlib
from typing import TYPE_CHECKING, Any, cast

import pytest
from azure.core import AsyncPipelineClient, PipelineClient
from azure.core.credentials import AccessToken, SupportsTokenInfo, TokenCredential
from azure.core.credentials_async import AsyncSupportsTokenInfo, AsyncTokenCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline.policies import AsyncRetryPolicy, RetryPolicy
from azure.core.rest import HttpRequest
from azure.identity import ChainedTokenCredential, CredentialUnavailableError
from azure.keyvault.secrets import SecretClient
from azure.keyvault.secrets.aio import SecretClient as AsyncSecretClient
from conftest import CONFIG, RESOURCE, wait_for_records
from test_adapters import secret, sent

import keybound
import keybound.aio
import keybound.azure
import keybound.azure.aio
from keybound.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from recorder import Recorder

    from keybound import BoundCalls

pytest_plugins = ["recorder"]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """One for each test: the SDK caches the challenges of a vault for the process."""
    with Emulator(CONFIG) as emulator:
        yield emulator


@pytest.fixture
def calls(emulator: Emulator, recorder_certificate: Path) -> BoundCalls:
    settings = emulator.client_settings
    settings["loopback_ca_pem"] += recorder_certificate.read_bytes()
    return keybound.BoundCalls(keybound.ManagedIdentityClient(**settings))


@pytest.fixture
def secrets(emulator: Emulator, calls: BoundCalls) -> Iterator[SecretClient]:
    transport = keybound.azure.transport(calls)
    # The emulated vault is a local host, not a subdomain of vault.azure.net.
    with SecretClient(
        emulator.vault, keybound.azure.credential(calls), transport=transport, verify_challenge_resource=False
    ) as client:
        yield client


@pytest.fixture
async def async_secrets(emulator: Emulator, calls: BoundCalls) -> AsyncIterator[AsyncSecretClient]:
    transport = keybound.azure.aio.transport(calls)
    credential = keybound.azure.aio.credential(calls)
    async with AsyncSecretClient(emulator.vault, credential, transport=transport, verify_challenge_resource=False) as client:
        yield client


def test_secrets(secrets: SecretClient, emulator: Emulator) -> None:
    assert secrets.get_secret("db").value == "correct horse"
    assert secrets.set_secret("new", "v").value == "v"
    assert {secret.name for secret in secrets.list_properties_of_secrets()} == {"db", "new"}
    with pytest.raises(ResourceNotFoundError) as caught:
        secrets.get_secret("absent")
    assert caught.value.error is not None
    assert caught.value.error.code == "SecretNotFound"
    first, *others = sent(emulator)
    # The client learns the resource from the challenge.
    assert (first["status"], first["client_certificate"]) == (401, None)
    assert all(record["client_certificate"] and record["headers"]["authorization"] == "mtls_pop …" for record in others)


async def test_secrets_of_asyncio(async_secrets: AsyncSecretClient, emulator: Emulator) -> None:
    assert (await async_secrets.get_secret("db")).value == "correct horse"
    assert (await async_secrets.set_secret("new", "v")).value == "v"
    assert {secret.name async for secret in async_secrets.list_properties_of_secrets()} == {"db", "new"}
    with pytest.raises(ResourceNotFoundError) as caught:
        await async_secrets.get_secret("absent")
    assert caught.value.error is not None
    assert caught.value.error.code == "SecretNotFound"
    assert [record["client_certificate"] is None for record in sent(emulator)] == [True, False, False, False, False]


def test_no_body_before_the_challenge(secrets: SecretClient, emulator: Emulator) -> None:
    secrets.set_secret("early", "v")
    puts = [(record["status"], record["body_bytes"] > 0) for record in sent(emulator)]
    assert puts == [(401, False), (200, True)]


def test_claims_challenges_are_answered_by_the_transport(secrets: SecretClient, emulator: Emulator) -> None:
    secrets.get_secret("db")
    emulator.inject("vault=claims-challenge*1")
    assert secrets.get_secret("db").value == "correct horse"


async def test_credentials(emulator: Emulator, calls: BoundCalls) -> None:
    token = calls.acquire_token(RESOURCE)
    credential = keybound.azure.credential(calls)
    asynchronous = keybound.azure.aio.credential(calls)
    assert isinstance(credential, SupportsTokenInfo)
    assert isinstance(credential, TokenCredential)
    assert isinstance(asynchronous, AsyncSupportsTokenInfo)
    assert isinstance(asynchronous, AsyncTokenCredential)
    with credential:
        info = credential.get_token_info(f"{RESOURCE}/.default", options={"claims": "{}", "enable_cae": True})
    async with asynchronous:
        other = await asynchronous.get_token_info(f"{RESOURCE}/.default")
    for found in (info, other, await asynchronous.get_token(RESOURCE), credential.get_token(RESOURCE, enable_cae=True)):
        assert found.expires_on == token.expires_on
        assert token.token not in found.token
        assert found.token.startswith("keybound-")
        assert token.token not in repr(credential) + repr(asynchronous)
    assert (info.token_type, info.refresh_on) == ("Bearer", token.refresh_on)
    for scopes in ((), (RESOURCE, RESOURCE)):
        with pytest.raises(ValueError, match="exactly one scope"):
            credential.get_token_info(*scopes)


async def test_tokens_of_other_credentials_are_not_sent(emulator: Emulator, calls: BoundCalls) -> None:
    class Foreign:
        def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            return AccessToken("swordfish", 2**31)

    class AsyncForeign(Foreign):
        async def get_token(self, *scopes: str, **options: Any) -> AccessToken:  # type: ignore[override]
            return AccessToken("swordfish", 2**31)

        async def close(self) -> None:
            pass

        async def __aenter__(self) -> AsyncForeign:
            return self

        async def __aexit__(self, *exception: object) -> None:
            pass

    client = SecretClient(
        emulator.vault, Foreign(), transport=keybound.azure.transport(calls), verify_challenge_resource=False, retry_total=0
    )
    with pytest.raises(ClientAuthenticationError) as caught:
        client.get_secret("db")
    assert "swordfish" not in str(caught.value)
    assert isinstance(caught.value.__cause__, keybound.InvalidRequest)
    foreign: Any = AsyncForeign()
    async_client = AsyncSecretClient(
        emulator.vault, foreign, transport=keybound.azure.aio.transport(calls), verify_challenge_resource=False, retry_total=0
    )
    with pytest.raises(ClientAuthenticationError):
        await async_client.get_secret("db")
    assert [(record["status"], record["client_certificate"]) for record in sent(emulator)] == [(401, None)]


async def test_requests_without_their_transport_disclose_nothing(emulator: Emulator, calls: BoundCalls) -> None:
    client = SecretClient(
        emulator.vault,
        keybound.azure.credential(calls),
        connection_verify=emulator.ca_file,
        verify_challenge_resource=False,
        retry_total=0,
    )
    with pytest.raises(HttpResponseError):
        client.get_secret("db")
    assert all(record["client_certificate"] is None for record in sent(emulator))


def pipeline(origin: str, calls: BoundCalls, **settings: Any) -> Any:
    policies = [RetryPolicy(retry_total=3, retry_backoff_factor=0.01)]
    return PipelineClient(origin, policies=policies, transport=keybound.azure.transport(calls), **settings)


def async_pipeline(origin: str, calls: BoundCalls, **settings: Any) -> Any:
    policies = [AsyncRetryPolicy(retry_total=3, retry_backoff_factor=0.01)]
    return AsyncPipelineClient(origin, policies=policies, transport=keybound.azure.aio.transport(calls), **settings)


async def test_a_cut_post_is_not_repeated(recorder: Recorder, calls: BoundCalls) -> None:
    recorder.cut()
    for method, count in [("POST", 1), ("PATCH", 1), ("PUT", 4)]:
        recorder.requests.clear()
        with pytest.raises(ServiceResponseError):
            pipeline(recorder.origin, calls).send_request(HttpRequest(method, recorder.origin, content=b"x"))
        assert len(recorder.requests) == count, method
        recorder.requests.clear()
        with pytest.raises(ServiceResponseError):
            await async_pipeline(recorder.origin, calls).send_request(HttpRequest(method, recorder.origin, content=b"x"))
        assert len(recorder.requests) == count, method


async def test_unreachable_vaults(calls: BoundCalls) -> None:
    request = HttpRequest("POST", "https://127.0.0.1:1/", content=b"x")
    with pytest.raises(ServiceRequestError, match=r"no connection to 127\.0\.0\.1:1: "):
        pipeline("https://127.0.0.1:1", calls).send_request(request)
    with pytest.raises(ServiceRequestError, match=r"no connection to 127\.0\.0\.1:1: "):
        await async_pipeline("https://127.0.0.1:1", calls).send_request(request)


async def test_timeouts(emulator: Emulator, calls: BoundCalls) -> None:
    calls.acquire_token(RESOURCE)
    request = HttpRequest("POST", secret(emulator), content=b"x")
    for option in ("read_timeout", "connection_timeout"):
        emulator.inject("vault=hang*2")
        with pytest.raises(ServiceResponseError):
            pipeline(emulator.vault, calls).send_request(request, **{option: 1})
        with pytest.raises(ServiceResponseError):
            await async_pipeline(emulator.vault, calls).send_request(request, **{option: 1})


async def test_timeouts_in_the_body(recorder: Recorder, calls: BoundCalls) -> None:
    calls.acquire_token(RESOURCE)
    recorder.hold(b"the", 10)
    request = HttpRequest("POST", recorder.origin, content=b"once")
    with pytest.raises(ServiceResponseError):
        pipeline(recorder.origin, calls).send_request(request, read_timeout=1)
    with pytest.raises(ServiceResponseError):
        await async_pipeline(recorder.origin, calls).send_request(request, read_timeout=1)
    assert len(recorder.requests) == 2


RAW_DEFLATE = zlib.compressobj(wbits=-15)
COMPRESSED = {
    "members of gzip": ("gzip", gzip.compress(b"text ") + gzip.compress(b"and more")),
    "old name": ("x-gzip", gzip.compress(b"text and more")),
    "zlib": ("deflate", zlib.compress(b"text and more")),
    "raw deflate": ("Deflate", RAW_DEFLATE.compress(b"text and more") + RAW_DEFLATE.flush()),
}


@pytest.mark.parametrize("form", COMPRESSED)
async def test_compressed_bodies_of_asyncio(recorder: Recorder, calls: BoundCalls, form: str) -> None:
    encoding, body = COMPRESSED[form]
    client = async_pipeline(recorder.origin, calls)
    recorder.respond(body, f"Content-Encoding: {encoding}")
    response = await client.send_request(HttpRequest("GET", recorder.origin))
    assert response.content == b"text and more"
    # Also where it ends within a member's header.
    for length in (1, len(body) - 1):
        recorder.respond(body[:length], f"Content-Encoding: {encoding}")
        with pytest.raises(ServiceResponseError, match="not complete"):
            await client.send_request(HttpRequest("POST", recorder.origin))
    recorder.respond(body + b"other data", f"Content-Encoding: {encoding}")
    with pytest.raises(ServiceResponseError, match="."):
        await client.send_request(HttpRequest("POST", recorder.origin))
    recorder.respond(b"", f"Content-Encoding: {encoding}")
    assert (await client.send_request(HttpRequest("HEAD", recorder.origin))).content == b""


async def test_forms_of_bodies_and_responses(recorder: Recorder, calls: BoundCalls) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"1"
        yield b"2"

    forms: list[tuple[dict[str, Any], bytes]] = [
        ({"json": {"a": 1}}, b'{"a": 1}'),
        ({"data": {"a": "1"}}, b"a=1"),
        ({"content": "text"}, b"text"),
        ({"content": stream()}, b"1\r\n1\r\n1\r\n2\r\n0\r\n\r\n"),
        ({"files": {"f": b"content"}}, b"content"),
    ]
    client = async_pipeline(recorder.origin, calls)
    recorder.respond_gzip("größe".encode())
    for body, expected in forms:
        recorder.requests.clear()
        response = await client.send_request(HttpRequest("POST", recorder.origin, **body))
        assert expected in recorder.only_body()
        assert response.text() == "größe"
        assert response.content == "größe".encode()
        assert (response.status_code, response.reason, response.encoding) == (200, "OK", "utf-8")
        assert response.headers["CONTENT-ENCODING"] == "gzip"
        assert response.is_closed
        response.raise_for_status()


async def test_streamed_responses_of_asyncio(emulator: Emulator, recorder: Recorder, calls: BoundCalls) -> None:
    client = async_pipeline(recorder.origin, calls)
    recorder.respond_gzip(b"text " * 100_000)
    async with await client.send_request(HttpRequest("GET", recorder.origin), stream=True) as response:
        with pytest.raises(ValueError, match="not read"):
            response.content  # noqa: B018
        parts = [part async for part in response.iter_bytes()]
        assert b"".join(parts) == b"text " * 100_000
        assert response.is_stream_consumed
    async with await client.send_request(HttpRequest("GET", recorder.origin), stream=True) as response:
        assert (b"".join([part async for part in response.iter_raw()])).startswith(b"\x1f\x8b")
    recorder.respond(b"{}", status="409 Conflict")
    response = await client.send_request(HttpRequest("GET", recorder.origin))
    assert response.json() == {}
    with pytest.raises(HttpResponseError, match="Conflict"):
        response.raise_for_status()
    emulator.inject("vault=truncated*1")
    async with await client.send_request(HttpRequest("GET", secret(emulator)), stream=True) as response:
        with pytest.raises(ServiceResponseError):
            await response.read()


async def test_failed_acquisitions(emulator: Emulator) -> None:
    client = keybound.ManagedIdentityClient(imds_endpoint=emulator.imds, loopback_ca_pem=emulator.ca_pem, simulated=False)
    with pytest.raises(ClientAuthenticationError) as caught:
        keybound.azure.credential(keybound.BoundCalls(client)).get_token_info(RESOURCE)
    assert isinstance(caught.value.__cause__, keybound.KeyUnavailable)
    assert not isinstance(caught.value, CredentialUnavailableError)
    # A chain goes on if this host has no IMDS v2.
    emulator.inject("metadata=status:404*always")
    client = keybound.ManagedIdentityClient(**emulator.client_settings)
    # Ends retries.
    calls = keybound.BoundCalls(client, timeout=0.5)
    credential = keybound.azure.credential(calls)
    assert ChainedTokenCredential(credential, Next()).get_token(RESOURCE).token == "next"
    asynchronous = keybound.azure.aio.credential(calls)
    with pytest.raises(CredentialUnavailableError):
        await asynchronous.get_token_info(RESOURCE)


@pytest.fixture
def silent_imds() -> Iterator[str]:
    """An address that accepts connections and does not respond."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class Next:
    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken("next", 2**31)


async def test_a_chain_goes_on_if_imds_does_not_respond(silent_imds: str) -> None:
    client = keybound.ManagedIdentityClient(imds_endpoint=silent_imds)
    bound = keybound.azure.credential(keybound.BoundCalls(client), probe_timeout=0.1)
    bearer = keybound.azure.BearerCredential(client, probe_timeout=0.1)
    for credential in (bound, bearer, keybound.azure.BearerCredential(client, timeout=0.1)):
        assert ChainedTokenCredential(credential, Next()).get_token(RESOURCE).token == "next"
    asynchronous = keybound.aio.ManagedIdentityClient(imds_endpoint=silent_imds)
    async_bound = keybound.azure.aio.credential(keybound.BoundCalls(asynchronous), probe_timeout=0.1)
    async_bearer = keybound.azure.aio.BearerCredential(asynchronous, probe_timeout=0.1)
    for async_credential in (async_bound, async_bearer):
        with pytest.raises(CredentialUnavailableError):
            await async_credential.get_token_info(RESOURCE)


async def test_imds_is_probed_once_for_a_client(emulator: Emulator) -> None:
    client = keybound.ManagedIdentityClient(**emulator.client_settings)
    # An answer of any kind.
    emulator.inject("probe=status:403*always")
    for _ in range(2):
        keybound.azure.credential(keybound.BoundCalls(client)).get_token(RESOURCE)
        keybound.azure.BearerCredential(client).get_token(RESOURCE)
    requests = emulator.counts()["probe"]
    assert requests >= 1
    keybound.azure.credential(keybound.BoundCalls(client)).get_token(RESOURCE)
    assert emulator.counts()["probe"] == requests
    # Later, it has the timeout of the call.
    emulator.inject("metadata=hang*always")
    late = keybound.azure.BearerCredential(client, timeout=0.2)
    with pytest.raises(CredentialUnavailableError):
        late.get_token("https://graph.microsoft.com", claims="{}")


def test_clients_of_the_other_kind(calls: BoundCalls) -> None:
    blocking: Any = keybound.ManagedIdentityClient()
    asynchronous: Any = keybound.aio.ManagedIdentityClient()
    with pytest.raises(TypeError, match=r"client is a keybound\.ManagedIdentityClient, not keybound\.aio\.Man"):
        keybound.azure.BearerCredential(asynchronous)
    with pytest.raises(TypeError, match=r"client is a keybound\.aio\.ManagedIdentityClient, not keybound\.Man"):
        keybound.azure.aio.BearerCredential(blocking)
    for credential in (keybound.azure.credential, keybound.azure.aio.credential):
        with pytest.raises(TypeError, match=r"calls is a keybound\.BoundCalls, not keybound\.Man"):
            credential(blocking)


async def test_bearer_tokens(emulator: Emulator) -> None:
    client = keybound.ManagedIdentityClient(**emulator.client_settings)
    credential = keybound.azure.BearerCredential(client)
    info = credential.get_token_info(f"{RESOURCE}/.default")
    assert info.token == client.acquire_token(RESOURCE, bearer_over_mtls=True).token
    assert info.token == credential.get_token(RESOURCE).token
    assert info.token not in repr(credential)
    asynchronous = keybound.azure.aio.BearerCredential(keybound.aio.ManagedIdentityClient(**emulator.client_settings))
    async with asynchronous:
        other = await asynchronous.get_token(RESOURCE)
    assert other.token
    claims = '{"access_token":{"nbf":{"essential":true}}}'
    assert credential.get_token(RESOURCE, claims=claims).token != info.token
    with pytest.raises(ClientAuthenticationError):
        credential.get_token(RESOURCE, claims="no json")


async def test_redirects_to_another_origin_have_neither_token_nor_certificate(
    emulator: Emulator, secrets: SecretClient, async_secrets: AsyncSecretClient
) -> None:
    secrets.get_secret("db")
    emulator.inject(f"vault=redirect:{emulator.graph}/v1.0/applications*2")
    with pytest.raises(HttpResponseError):
        secrets.get_secret("db")
    with pytest.raises(HttpResponseError):
        await async_secrets.get_secret("db")
    redirected = sent(emulator, "graph")
    assert redirected
    for record in redirected:
        assert "authorization" not in record["headers"]
        assert record["client_certificate"] is None


async def test_no_log_has_a_token(
    emulator: Emulator, calls: BoundCalls, secrets: SecretClient, async_secrets: AsyncSecretClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    # With the headers of requests and responses.
    secrets.get_secret("db", logging_enable=True)
    await async_secrets.get_secret("db", logging_enable=True)
    wait_for_records()
    assert "secrets/db" in caplog.text
    for part in calls.acquire_token(RESOURCE).token.split("."):
        assert part not in caplog.text


async def test_requests_of_other_types_are_errors(emulator: Emulator, calls: BoundCalls) -> None:
    from azure.core.pipeline.transport import HttpRequest as Legacy

    with pytest.raises(TypeError, match="azure.core.rest"):
        await keybound.azure.aio.transport(calls).send(cast("HttpRequest", Legacy("GET", secret(emulator))))
    assert sent(emulator) == []
    # The blocking transport is one of the SDK's, which takes both.
    assert keybound.azure.transport(calls).send(Legacy("GET", secret(emulator))).status_code == 401


async def test_trust_is_that_of_the_client(emulator: Emulator, calls: BoundCalls) -> None:
    request = HttpRequest("GET", secret(emulator))
    with pytest.raises(ValueError, match="verify=False"):
        pipeline(emulator.vault, calls).send_request(request, connection_verify=False)
    with pytest.raises(ValueError, match="connection_verify"):
        await async_pipeline(emulator.vault, calls).send_request(request, connection_verify=False)
    assert sent(emulator) == []


def put_body() -> Iterator[bytes]:
    for number in range(10):
        yield b"part %d." % number


async def async_put_body() -> AsyncIterator[bytes]:
    for part in put_body():
        yield part


async def test_generated_bodies_are_whole_after_a_refused_connection(late_recorder: Recorder, calls: BoundCalls) -> None:
    class Policy(RetryPolicy[Any, Any]):
        def sleep(self, *_: Any, **__: Any) -> None:
            late_recorder.start()

    late_recorder.respond(b"ok")
    headers = {"Authorization": f"Bearer {calls.placeholder(RESOURCE)}"}
    request = HttpRequest("PUT", late_recorder.origin, content=put_body(), headers=headers)
    client: PipelineClient[Any, Any] = PipelineClient(
        late_recorder.origin, policies=[Policy()], transport=keybound.azure.transport(calls)
    )
    assert client.send_request(request).status_code == 200
    assert late_recorder.only_chunks() == b"".join(put_body())


async def test_asynchronous_bodies_are_whole_after_a_refused_connection(late_recorder: Recorder, calls: BoundCalls) -> None:
    class Policy(AsyncRetryPolicy[Any, Any]):
        async def sleep(self, *_: Any, **__: Any) -> None:
            late_recorder.start()

    late_recorder.respond(b"ok")
    headers = {"Authorization": f"Bearer {calls.placeholder(RESOURCE)}"}
    request = HttpRequest("PUT", late_recorder.origin, content=async_put_body(), headers=headers)
    client: AsyncPipelineClient[Any, Any] = AsyncPipelineClient(
        late_recorder.origin, policies=[Policy()], transport=keybound.azure.aio.transport(calls)
    )
    assert (await client.send_request(request)).status_code == 200
    assert late_recorder.only_chunks() == b"".join(put_body())


@pytest.mark.parametrize("form", ["generator", "map"])
async def test_what_is_read_once_is_not_sent_twice(recorder: Recorder, calls: BoundCalls, form: str) -> None:
    recorder.cut()
    headers = {"Authorization": f"Bearer {calls.placeholder(RESOURCE)}"}
    body = put_body() if form == "generator" else map(bytes, put_body())
    request = HttpRequest("PUT", recorder.origin, content=body, headers=headers)
    client: PipelineClient[Any, Any] = PipelineClient(
        recorder.origin, policies=[RetryPolicy(retry_backoff_factor=0)], transport=keybound.azure.transport(calls)
    )
    with pytest.raises(ClientAuthenticationError, match="iterator"):
        client.send_request(request)
    assert recorder.only_chunks() == b"".join(put_body())
    asynchronous_body = async_put_body() if form == "generator" else map(bytes, put_body())
    request = HttpRequest("PUT", recorder.origin, content=asynchronous_body, headers=headers)
    asynchronous: AsyncPipelineClient[Any, Any] = AsyncPipelineClient(
        recorder.origin, policies=[AsyncRetryPolicy(retry_backoff_factor=0)], transport=keybound.azure.aio.transport(calls)
    )
    with pytest.raises(ClientAuthenticationError, match="iterator"):
        await asynchronous.send_request(request)
    assert len(recorder.requests) == 2


async def test_members_that_storage_clients_use(recorder: Recorder, calls: BoundCalls) -> None:
    client = async_pipeline(recorder.origin, calls)
    request = HttpRequest("GET", recorder.origin)

    async def get() -> Any:
        return await client.send_request(request, stream=True)

    recorder.respond_gzip(b"text " * 10000)
    response = await get()
    download = response.stream_download(client._pipeline, decompress=True)
    download.properties = "of the client"
    assert download.response is response
    assert download.request is request
    assert not response.is_stream_consumed
    assert len(download) == download.content_length == int(response.headers["Content-Length"])
    assert b"".join([part async for part in download]) == b"text " * 10000
    assert response.is_stream_consumed
    raw = (await get()).stream_download(client._pipeline, decompress=False)
    assert b"".join([part async for part in raw]).startswith(b"\x1f\x8b")
    response = await get()
    await response.load_body()
    assert response.body() == response.content == b"text " * 10000
    assert response.is_stream_consumed
    assert response.block_size > 0
    assert response.internal_response.status_code == 200
    # A client whose policy has loaded the body reads it again.
    assert b"".join([part async for part in response.stream_download(client._pipeline)]) == response.content


async def test_downloads_that_are_cut(emulator: Emulator, calls: BoundCalls) -> None:
    emulator.inject("vault=truncated*1")
    client = async_pipeline(emulator.vault, calls)
    response: Any = await client.send_request(HttpRequest("GET", secret(emulator)), stream=True)
    with pytest.raises(IncompleteReadError):
        [part async for part in response.stream_download(client._pipeline)]
