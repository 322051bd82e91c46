"""The recipe in docs/python/aiohttp.md."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import aiohttp
import pytest
from conftest import RESOURCE
from test_adapters import secret, sent

import keybound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from recorder import Recorder

    from keybound import BoundCalls
    from keybound.emulator import Emulator

pytest_plugins = ["recorder"]


@pytest.fixture(scope="session")
def bound_session() -> Callable[[BoundCalls, str], aiohttp.ClientSession]:
    page = Path(__file__).resolve().parents[2] / "docs" / "python" / "aiohttp.md"
    recipe = page.read_text(encoding="utf-8").split("```python\n")[1].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(recipe, str(page), "exec"), names)
    session: Callable[[BoundCalls, str], aiohttp.ClientSession] = names["bound_session"]
    return session


@pytest.fixture
async def vault(bound_session: Any, calls: BoundCalls) -> AsyncIterator[aiohttp.ClientSession]:
    async with bound_session(calls, RESOURCE) as session:
        yield session


async def test_calls(vault: aiohttp.ClientSession, emulator: Emulator) -> None:
    async with vault.get(secret(emulator)) as response:
        assert response.status == 200
        assert (await response.json())["value"] == "correct horse"
        assert response.ok
        assert response.content_type == "application/json"
    async with vault.put(secret(emulator, "new"), json={"value": "v"}) as response:
        assert (await response.json())["value"] == "v"
    async with vault.get(secret(emulator, "absent")) as response:
        with pytest.raises(aiohttp.ClientResponseError, match="404"):
            response.raise_for_status()
    assert all(record["client_certificate"] for record in sent(emulator))


async def test_redirects_to_another_origin(vault: aiohttp.ClientSession, emulator: Emulator) -> None:
    emulator.inject(f"vault=redirect:{emulator.graph}/v1.0/applications*1")
    async with vault.get(secret(emulator)) as response:
        assert response.status == 401
        assert len(response.history) == 1
    (record,) = sent(emulator, "graph")
    assert "authorization" not in record["headers"]
    assert record["client_certificate"] is None


async def test_bodies_cookies_and_cut_requests(vault: aiohttp.ClientSession, recorder: Recorder) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"1"
        yield b"2"

    recorder.respond(b"ok", "Set-Cookie: a=1; Secure")
    async with vault.post(recorder.origin, data=parts()) as response:
        assert await response.text() == "ok"
        assert response.cookies["a"].value == "1"
    assert b"12" in recorder.only_body()
    recorder.requests.clear()
    recorder.cut()
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await vault.post(recorder.origin, data=b"once")
    assert recorder.only_body() == b"once"
    recorder.requests.clear()
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await vault.put(recorder.origin, data=b"twice")
    assert [request.partition(b"\r\n\r\n")[2] for request in recorder.requests] == [b"twice", b"twice"]
    recorder.requests.clear()
    # aiohttp 3.13 would repeat it without the body.
    with pytest.raises(aiohttp.ClientConnectionError):
        await vault.put(recorder.origin, data=parts())
    assert recorder.only_body() == b"12"


async def test_errors(vault: aiohttp.ClientSession, emulator: Emulator, calls: BoundCalls) -> None:
    with pytest.raises(aiohttp.ClientConnectionError, match=r"no connection to 127\.0\.0\.1:1: "):
        await vault.post("https://127.0.0.1:1/", data=b"x")
    emulator.inject("vault=hang*1")
    with pytest.raises(asyncio.TimeoutError):
        await vault.get(secret(emulator), timeout=aiohttp.ClientTimeout(total=0.5))
    with pytest.raises(keybound.InvalidRequest):
        await vault.get(secret(emulator), headers={"Authorization": calls.acquire_token(RESOURCE).authorization})
