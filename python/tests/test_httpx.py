from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable

import httpx
import pytest
from conftest import RESOURCE
from test_adapters import secret, sent

import keybound
import keybound.aio
import keybound.httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from recorder import Recorder

    from keybound import BoundCalls
    from keybound.emulator import Emulator

pytest_plugins = ["recorder"]


def test_auth_and_transport_of_a_client_of_the_caller(emulator: Emulator, calls: BoundCalls) -> None:
    with httpx.Client(transport=keybound.httpx.BoundTransport(calls)) as client:
        vault = keybound.httpx.BoundAuth(calls, RESOURCE)
        response = client.get(secret(emulator), auth=vault)
        assert response.json()["value"] == "correct horse"
        assert response.http_version == "HTTP/1.1"
        assert calls.acquire_token(RESOURCE).token not in repr(response.request.headers.raw)
        assert client.get(secret(emulator)).status_code == 401


def test_one_transport_for_one_origin(emulator: Emulator, recorder: Recorder, calls: BoundCalls) -> None:
    with httpx.Client(mounts={emulator.vault: keybound.httpx.BoundTransport(calls)}) as client:
        assert client.get(secret(emulator), auth=keybound.httpx.BoundAuth(calls, RESOURCE)).status_code == 200
        with pytest.raises(httpx.ConnectError):
            client.get(recorder.origin)


async def test_clients_of_asyncio(emulator: Emulator, calls: BoundCalls) -> None:
    async with keybound.httpx.async_client(calls, RESOURCE) as client:
        responses = await asyncio.gather(*(client.get(secret(emulator)) for _ in range(10)))
        assert [response.status_code for response in responses] == [200] * 10
    client_of_aio = keybound.aio.ManagedIdentityClient(**emulator.client_settings)
    async with keybound.httpx.async_client(keybound.BoundCalls(client_of_aio), RESOURCE) as client:
        assert (await client.get(secret(emulator))).status_code == 200


async def test_streams_of_asyncio(emulator: Emulator, calls: BoundCalls) -> None:
    async with keybound.httpx.async_client(calls, RESOURCE) as client:
        emulator.inject("vault=oversized:3000000*2")
        async with client.stream("GET", secret(emulator)) as response:
            lengths = [len(part) async for part in response.aiter_bytes(100_000)]
        assert sum(lengths) == 3_000_000
        async with client.stream("GET", secret(emulator)) as response:
            async for _ in response.aiter_raw():
                break
        assert (await client.get(secret(emulator))).status_code == 200


async def test_cancellation_ends_the_request(emulator: Emulator, calls: BoundCalls) -> None:
    emulator.inject("vault=hang*1")
    async with keybound.httpx.async_client(calls, RESOURCE) as client:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.get(secret(emulator)), 0.5)
        assert (await client.get(secret(emulator))).status_code == 200


def test_streams(emulator: Emulator, calls: BoundCalls) -> None:
    with keybound.httpx.client(calls, RESOURCE) as client:
        emulator.inject("vault=oversized:3000000*1", "vault=truncated*1")
        with client.stream("GET", secret(emulator)) as response:
            assert sum(len(part) for part in response.iter_bytes()) == 3_000_000
        with client.stream("GET", secret(emulator)) as response, pytest.raises(httpx.ReadError):
            response.read()


def test_timeouts_of_parts(emulator: Emulator, calls: BoundCalls) -> None:
    with keybound.httpx.client(calls, RESOURCE) as client:
        emulator.inject("vault=hang*1", "vault=delay:700*1")
        with pytest.raises(httpx.ReadTimeout):
            client.get(secret(emulator), timeout=httpx.Timeout(0.2, read=1))
        assert client.get(secret(emulator), timeout=httpx.Timeout(0.2, read=None)).status_code == 200


def test_environment_changes_nothing(emulator: Emulator, calls: BoundCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    with keybound.httpx.client(calls, RESOURCE) as client:
        assert client.get(secret(emulator)).status_code == 200


@pytest.mark.parametrize("create", [keybound.httpx.client, keybound.httpx.async_client])
def test_settings_that_bypass_the_transport_are_errors(create: Callable[..., object], calls: BoundCalls) -> None:
    settings: dict[str, Any] = {
        "auth": None,
        "cert": "client.pem",
        "http2": True,
        "limits": httpx.Limits(max_connections=1),
        "mounts": {"all://": None},
        "proxies": "http://127.0.0.1:1",
        "proxy": "http://127.0.0.1:1",
        "transport": None,
        "trust_env": True,
        "verify": False,
    }
    for name, value in settings.items():
        with pytest.raises(TypeError, match=f"^{name}: trust, proxies and connections"):
            create(calls, RESOURCE, **{name: value})


def test_cookies_and_hooks(recorder: Recorder, calls: BoundCalls) -> None:
    seen: list[str] = []
    hooks = {"response": [lambda response: seen.append(response.request.headers["authorization"])]}
    with keybound.httpx.client(calls, RESOURCE, event_hooks=hooks) as client:
        recorder.respond(b"", "Set-Cookie: a=1", "Set-Cookie: b=2")
        client.get(recorder.origin)
        assert dict(client.cookies) == {"a": "1", "b": "2"}
    assert seen == [f"Bearer {calls.placeholder(RESOURCE)}"]


async def test_what_is_read_once_is_not_sent_twice(recorder: Recorder, calls: BoundCalls) -> None:
    class Parts:
        def __init__(self) -> None:
            self._parts = iter([b"1", b"2"])

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            for part in self._parts:
                return part
            raise StopAsyncIteration

    async def generated() -> AsyncIterator[bytes]:
        async for part in Parts():
            yield part

    async with keybound.httpx.async_client(calls, RESOURCE) as client:
        for body in (Parts(), generated()):
            recorder.requests.clear()
            recorder.cut()
            with pytest.raises(httpx.ReadError):
                await client.put(recorder.origin, content=body)
            recorder.respond(b"ok")
            with pytest.raises(keybound.InvalidRequest, match="iterator"):
                await client.put(recorder.origin, content=body)
            assert recorder.only_chunks() == b"12"


def test_redirects_do_not_repeat_what_is_read_once(emulator: Emulator, calls: BoundCalls) -> None:
    emulator.inject("vault=redirect:/secrets/new?api-version=7.4*1")
    with keybound.httpx.client(calls, RESOURCE, follow_redirects=True) as client, pytest.raises(keybound.InvalidRequest):
        client.put(secret(emulator, "new"), content=iter([b'{"value":', b'"v"}']))


def test_bodies_of_files(emulator: Emulator, recorder: Recorder, calls: BoundCalls) -> None:
    with keybound.httpx.client(calls, RESOURCE) as client:
        recorder.respond(b"")
        client.post(recorder.origin, data={"a": "1"}, files={"f": b"content"})
        assert b"content" in recorder.only_body()
    assert sent(emulator) == []
