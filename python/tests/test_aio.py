from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from conftest import RESOURCE

import keybound
from keybound import aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from keybound.emulator import Emulator


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
    emulator.inject("metadata=delay:200*1", leg)
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


async def test_other_tasks_of_a_request_survive_a_cancelled_one(emulator: Emulator, aio_client: aio.ManagedIdentityClient) -> None:
    emulator.inject("metadata=delay:300*1")
    first, second = (asyncio.create_task(aio_client.acquire_token(RESOURCE)) for _ in range(2))
    await asyncio.sleep(0.1)
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
