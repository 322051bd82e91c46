from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from conftest import RESOURCE

import keybound
from keybound import aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from recorder import Recorder

    from keybound.emulator import Emulator

pytest_plugins = ["recorder"]


@pytest.fixture
def aio_client(emulator: Emulator) -> aio.ManagedIdentityClient:
    return aio.ManagedIdentityClient(**emulator.client_settings)


@pytest.fixture(scope="session")
def warm_aio_client(shared_emulator: Emulator) -> aio.ManagedIdentityClient:
    client = aio.ManagedIdentityClient(**shared_emulator.client_settings)
    asyncio.run(client.acquire_token(RESOURCE))
    return client


def secret(emulator: Emulator, name: str = "db") -> str:
    return f"{emulator.vault}/secrets/{name}?api-version=7.4"


@pytest.mark.parametrize("leg", ["token=delay:300*1", "token=status:400*1"])
async def test_tasks_share_one_request(emulator: Emulator, aio_client: aio.ManagedIdentityClient, leg: str) -> None:
    emulator.inject("metadata=delay:500*1", leg)
    tasks = [asyncio.create_task(aio_client.acquire_token(RESOURCE)) for _ in range(64)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert len({result.token if isinstance(result, keybound.AccessToken) else str(result) for result in results}) == 1
    assert emulator.counts()["token"] == 1


async def test_cached_tokens(emulator: Emulator, aio_client: aio.ManagedIdentityClient) -> None:
    assert (await aio_client.acquire_token(RESOURCE)).source == "identity_provider"
    assert (await aio_client.acquire_token(RESOURCE)).source == "cache"
    assert (await aio_client.bearer_token(RESOURCE)).token_type == "Bearer"
    assert (await aio_client.acquire_token(RESOURCE, bearer_over_mtls=True)).certificate is None
    assert await aio_client.supports_imds_v2()
    assert emulator.counts()["token"] == 2


async def test_bodies_are_read_again(emulator: Emulator, warm_aio_client: aio.ManagedIdentityClient) -> None:
    vault = warm_aio_client.resource(RESOURCE)
    async with await vault.get(secret(emulator, "absent")) as response:
        for _ in range(2):
            with pytest.raises(keybound.ServiceRefused, match="SecretNotFound"):
                await response.raise_for_status()
        body = await response.read()
    assert b"SecretNotFound" in body
    assert (await response.json())["error"]["code"] == "SecretNotFound"
    assert [part async for part in response.iter_bytes()] == [body]
    with pytest.raises(keybound.ServiceRefused, match="SecretNotFound"):
        await response.raise_for_status()


def test_several_event_loops_share_a_client(emulator: Emulator, aio_client: aio.ManagedIdentityClient) -> None:
    first = asyncio.run(aio_client.acquire_token(RESOURCE))
    second = asyncio.run(aio_client.acquire_token(RESOURCE, force_refresh=True))
    assert first.token != second.token
    assert emulator.counts()["issue"] == 1


async def test_calls(emulator: Emulator, warm_aio_client: aio.ManagedIdentityClient) -> None:
    vault = warm_aio_client.resource(RESOURCE)
    async with await vault.get(secret(emulator)) as response:
        assert (await response.json())["value"] == "correct horse"
        assert await response.raise_for_status() is response

    async def parts() -> AsyncIterator[bytes]:
        yield b'{"value":'
        await asyncio.sleep(0)
        yield b'"async"}'

    json = {"Content-Type": "application/json"}
    for content in (parts(), [b'{"value":', b'"async"}'], b'{"value":"async"}'):
        response = await vault.put(secret(emulator, "async"), headers=json, content=content)
        assert (await response.json())["value"] == "async"
    response = await vault.get(secret(emulator, "absent"))
    with pytest.raises(keybound.ServiceRefused) as caught:
        await response.raise_for_status()
    assert caught.value.status == 404
    bearer = await warm_aio_client.bearer_resource(RESOURCE).head(secret(emulator))
    assert bearer.token is not None
    assert bearer.token.token_type == "Bearer"


async def test_large_responses_arrive_in_parts(emulator: Emulator, warm_aio_client: aio.ManagedIdentityClient) -> None:
    emulator.inject("vault=oversized:3000000*1")
    response = await warm_aio_client.resource(RESOURCE).get(secret(emulator))
    total = 0
    async for chunk in response.iter_bytes():
        total += len(chunk)
    assert total == 3_000_000


async def test_cancelling_a_task_ends_its_request(emulator: Emulator, warm_aio_client: aio.ManagedIdentityClient) -> None:
    emulator.inject("vault=hang*1")
    task = asyncio.create_task(warm_aio_client.resource(RESOURCE).get(secret(emulator)))
    while "vault" not in emulator.counts():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The emulator closes its record when the client disconnects; the connection is not used again.
    response = await warm_aio_client.resource(RESOURCE).get(secret(emulator))
    assert response.status_code == 200
    assert response.tls["reused"] is False


class Source:
    """A body whose generator never produces its second part."""

    def __init__(self) -> None:
        self.is_closed = False

    async def parts(self) -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
            yield b"second"
        finally:
            self.is_closed = True


async def test_the_timeout_counts_while_a_body_is_awaited(emulator: Emulator, warm_aio_client: aio.ManagedIdentityClient) -> None:
    for timeout in (1.0, None):
        source = Source()
        vault = warm_aio_client.resource(RESOURCE, timeout=60 if timeout else 1)
        call = vault.put(secret(emulator, "slow"), content=source.parts(), timeout=timeout)
        with pytest.raises(keybound.DeadlineReached, match="caller produced the next part") as caught:
            await asyncio.wait_for(call, 20)
        assert caught.value.may_have_been_sent
        assert source.is_closed


@pytest.mark.parametrize("length", [10, 1_000_000])
async def test_an_early_error_ends_the_wait_for_a_body(
    recorder: Recorder, recorder_certificate: Path, emulator: Emulator, length: int
) -> None:
    settings = emulator.client_settings
    settings["loopback_ca_pem"] += recorder_certificate.read_bytes()
    recorder.respond_early("400 Bad Request", b"x" * length)
    source = Source()
    client = aio.ManagedIdentityClient(**settings)
    response = await asyncio.wait_for(client.resource(RESOURCE).put(recorder.origin, content=source.parts()), 20)
    assert response.status_code == 400
    assert source.is_closed
    assert await response.read() == b"x" * length


async def test_a_body_is_sent_after_an_early_success(recorder: Recorder, recorder_certificate: Path, emulator: Emulator) -> None:
    settings = emulator.client_settings
    settings["loopback_ca_pem"] += recorder_certificate.read_bytes()
    vault = aio.ManagedIdentityClient(**settings).resource(RESOURCE)
    recorder.respond_early("200 OK", b"head, ", rest=b"and all")

    async def parts() -> AsyncIterator[bytes]:
        yield b"first "
        assert await asyncio.to_thread(recorder.responded.wait, 20)
        yield b"second"

    response = await vault.put(recorder.origin, content=parts())
    assert await response.read() == b"head, and all"
    assert recorder.only_chunks() == b"first second"


async def test_the_timeout_counts_after_an_early_success(
    recorder: Recorder, recorder_certificate: Path, emulator: Emulator
) -> None:
    settings = emulator.client_settings
    settings["loopback_ca_pem"] += recorder_certificate.read_bytes()
    recorder.respond_early("200 OK", b"ok")
    source = Source()
    client = aio.ManagedIdentityClient(**settings)
    await client.acquire_token(RESOURCE)
    call = client.resource(RESOURCE).put(recorder.origin, content=source.parts(), timeout=1)
    with pytest.raises(keybound.DeadlineReached, match="caller produced the next part"):
        await asyncio.wait_for(call, 20)
    assert source.is_closed


async def test_a_cancelled_call_closes_the_source_of_its_body(
    emulator: Emulator, warm_aio_client: aio.ManagedIdentityClient
) -> None:
    source = Source()
    started = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        async for part in source.parts():
            started.set()
            yield part

    task = asyncio.create_task(warm_aio_client.resource(RESOURCE).put(secret(emulator), content=parts()))
    await started.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.is_closed


async def test_a_failing_source_ends_the_call(emulator: Emulator, warm_aio_client: aio.ManagedIdentityClient) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b'{"value":"half'
        raise LookupError("the source of the body")

    with pytest.raises(LookupError):
        await warm_aio_client.resource(RESOURCE).put(secret(emulator, "half"), content=failing())
    assert (await warm_aio_client.resource(RESOURCE).get(secret(emulator, "half"))).status_code == 404


async def test_other_tasks_of_a_request_survive_a_cancelled_one(emulator: Emulator, aio_client: aio.ManagedIdentityClient) -> None:
    emulator.inject("metadata=delay:1000*1")
    first, second = (asyncio.create_task(aio_client.acquire_token(RESOURCE)) for _ in range(2))

    async def metadata_is_requested() -> None:
        while "metadata" not in emulator.counts():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(metadata_is_requested(), 20)
    first.cancel()
    assert (await second).token_type == "mtls_pop"
    assert first.cancelled()
    assert emulator.counts()["metadata"] == 1


async def test_a_timeout_of_asyncio(emulator: Emulator, aio_client: aio.ManagedIdentityClient) -> None:
    emulator.inject("metadata=hang*1")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(aio_client.acquire_token(RESOURCE), 0.2)
    assert (await aio_client.acquire_token(RESOURCE)).token_type == "mtls_pop"


def test_an_abandoned_call(emulator: Emulator, aio_client: aio.ManagedIdentityClient) -> None:
    emulator.inject("metadata=hang*1")

    async def main() -> None:
        tasks.append(asyncio.create_task(aio_client.acquire_token(RESOURCE)))
        await asyncio.sleep(0.05)

    tasks: list[asyncio.Task[keybound.AccessToken]] = []
    asyncio.run(main())
    assert tasks[0].cancelled()
    assert asyncio.run(aio_client.acquire_token(RESOURCE)).source == "identity_provider"
