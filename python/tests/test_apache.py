"""The adapters with an independent server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from azure.core import AsyncPipelineClient, PipelineClient
from azure.core.rest import HttpRequest
from conftest import RESOURCE
from libraries import LIBRARIES, Library

import keybound
import keybound.azure
import keybound.azure.aio

if TYPE_CHECKING:
    from pathlib import Path

    from keybound.emulator import Emulator

pytest_plugins = ["apache", "recorder"]


@pytest.fixture(scope="session", params=["1.2", "1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def calls(shared_emulator: Emulator, recorder_certificate: Path, version: str) -> keybound.BoundCalls:
    settings = shared_emulator.client_settings
    settings["loopback_ca_pem"] += recorder_certificate.read_bytes()
    calls = keybound.BoundCalls(keybound.ManagedIdentityClient(**settings, tls_versions={"127.0.0.1": version}))
    calls.acquire_token(RESOURCE)
    return calls


def check(body: bytes, calls: keybound.BoundCalls, version: str, sent: str = "") -> None:
    request: dict[str, Any] = json.loads(body)
    token = calls.acquire_token(RESOURCE)
    assert token.certificate is not None
    assert request["body"] == sent
    assert request["headers"]["authorization"] == token.authorization
    assert request["headers"]["x-version"] == f"TLSv{version}"
    # Apache passes the lines of the PEM with spaces between them.
    assert "".join(token.certificate.public_certificate_pem.split()) == "".join(request["headers"]["x-certificate"].split())


@pytest.mark.parametrize("library", LIBRARIES, ids=str)
def test_requests(library: Library, apache: str, calls: keybound.BoundCalls, version: str) -> None:
    for _ in range(3):
        check(library.send(calls, RESOURCE, "GET", apache).body, calls, version)
    check(library.send(calls, RESOURCE, "POST", apache, b"text").body, calls, version, "text")
    check(library.send(calls, RESOURCE, "POST", apache, iter([b"in ", b"chunks"])).body, calls, version, "in chunks")


@pytest.mark.parametrize("library", LIBRARIES, ids=str)
def test_requests_without_authorization(library: Library, apache: str, calls: keybound.BoundCalls, version: str) -> None:
    answer = library.send(calls, None, "GET", apache)
    if version == "1.3":
        # Such connections offer no authentication after the handshake.
        assert answer.status == 403
        return
    headers = json.loads(answer.body)["headers"]
    assert "authorization" not in headers
    assert headers["x-certificate"] in ("", "(null)")


async def test_the_azure_sdk(apache: str, calls: keybound.BoundCalls, version: str) -> None:
    headers = {"Authorization": f"Bearer {calls.placeholder(RESOURCE)}"}
    request = HttpRequest("PUT", apache, headers=headers, content=b"text")
    client: Any = PipelineClient(apache, policies=[], transport=keybound.azure.transport(calls))
    check(client.send_request(request).content, calls, version, "text")
    async_client: Any = AsyncPipelineClient(apache, policies=[], transport=keybound.azure.aio.transport(calls))
    check((await async_client.send_request(request)).content, calls, version, "text")
