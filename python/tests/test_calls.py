from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conftest import RESOURCE

import keybound
import keybound.msal as msal
from keybound import BoundCalls, ManagedIdentityClient, aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from keybound.emulator import Emulator


@pytest.fixture
def calls(emulator: Emulator, warm_client: ManagedIdentityClient) -> BoundCalls:
    return BoundCalls(warm_client)


def secret(emulator: Emulator, name: str = "db") -> str:
    return f"{emulator.vault}/secrets/{name}?api-version=7.4"


def test_a_placeholder_becomes_the_token(emulator: Emulator, calls: BoundCalls) -> None:
    placeholder = calls.placeholder(RESOURCE)
    assert calls.acquire_token(RESOURCE).token not in placeholder
    headers = {"Authorization": f"Bearer {placeholder}", "Host": "elsewhere", "Connection": "close"}
    response = calls.send("GET", secret(emulator), headers=headers)
    assert response.json()["value"] == "correct horse"
    assert response.token is not None
    (record,) = [record for record in emulator.records() if record["leg"] == "vault"]
    assert record["client_certificate"] == response.token.certificate.x5t_s256  # type: ignore[union-attr]
    assert record["headers"]["host"] in emulator.vault


@pytest.mark.parametrize(
    ("argument", "value", "kind", "message"),
    [
        ("client", None, TypeError, "client is a ManagedIdentityClient of keybound or keybound.aio, not NoneType"),
        ("client", msal.ManagedIdentityClient(), TypeError, "keybound.aio, not keybound.msal.managed_identity.Man"),
        ("timeout", -5, keybound.InvalidRequest, "not negative"),
        ("timeout", None, TypeError, "timeout is a number of seconds, not NoneType"),
        ("attested", 1, TypeError, "attested is a bool, not int"),
        ("min_strength", "x", keybound.InvalidRequest, "min_strength: expected software, hardware or keyguard"),
    ],
)
def test_arguments_are_checked(client: ManagedIdentityClient, argument: str, value: object, kind: Any, message: str) -> None:
    arguments: dict[str, Any] = {"client": client, argument: value}
    with pytest.raises(kind) as caught:
        BoundCalls(**arguments)
    assert message in str(caught.value)


def test_requests_without_placeholder_have_no_token(emulator: Emulator, calls: BoundCalls) -> None:
    response = calls.send("GET", secret(emulator))
    assert response.status_code == 401
    assert "WWW-Authenticate" in response.headers
    assert response.token is None
    with pytest.raises(keybound.ServiceRefused) as caught:
        response.raise_for_status()
    assert caught.value.status == 401
    (record,) = [record for record in emulator.records() if record["leg"] == "vault"]
    assert record["client_certificate"] is None


def test_other_tokens_are_not_sent(emulator: Emulator, calls: BoundCalls, warm_client: ManagedIdentityClient) -> None:
    foreign = [
        "Bearer eyJ0",
        f"Bearer {BoundCalls(warm_client).placeholder(RESOURCE)}",
        f"Basic {calls.placeholder(RESOURCE)}",
        calls.placeholder(RESOURCE),
        "",
    ]
    for value in foreign:
        with pytest.raises(keybound.InvalidRequest) as caught:
            calls.send("GET", secret(emulator), headers={"authorization": value})
        assert not caught.value.may_have_been_sent
    twice = [("Authorization", f"Bearer {calls.placeholder(RESOURCE)}")] * 2
    with pytest.raises(keybound.InvalidRequest):
        calls.send("GET", secret(emulator), headers=twice)
    assert "vault" not in emulator.counts()


def test_redirects_are_returned(emulator: Emulator, calls: BoundCalls) -> None:
    emulator.inject(f"vault=redirect:{secret(emulator)}*2")
    headers = {"Authorization": f"Bearer {calls.placeholder(RESOURCE)}"}
    assert calls.send("GET", secret(emulator), headers=headers).status_code == 307
    assert calls.send("GET", secret(emulator)).status_code == 307


def test_bodies(emulator: Emulator, calls: BoundCalls) -> None:
    headers = {"Authorization": f"Bearer {calls.placeholder(RESOURCE)}", "Content-Type": "application/json"}
    calls.send("GET", secret(emulator), headers=headers).read()
    body = b'{"value":"calls"}'
    for content in (body, body.decode(), iter([body[:5], body[5:]])):
        response = calls.send(
            "PUT", secret(emulator, "calls"), headers={**headers, "Content-Length": str(len(body))}, content=content
        )
        assert response.json()["value"] == "calls"


async def test_async_calls(emulator: Emulator) -> None:
    calls = BoundCalls(aio.ManagedIdentityClient(**emulator.client_settings))
    assert (await calls.acquire_token_async(RESOURCE)).source == "identity_provider"
    assert calls.acquire_token(RESOURCE).source == "cache"
    headers = {"Authorization": f"Bearer {calls.placeholder(RESOURCE)}", "Content-Type": "application/json"}

    async def parts() -> AsyncIterator[bytes]:
        yield b'{"value":'
        yield b'"async"}'

    assert (await (await calls.send_async("GET", secret(emulator), headers=headers)).json())["value"] == "correct horse"
    response = await calls.send_async("PUT", secret(emulator, "async"), headers=headers, content=parts())
    assert (await response.json())["value"] == "async"
    assert (await calls.send_async("GET", secret(emulator))).status_code == 401


def test_a_certificate_sends_tokens_that_are_bound_to_it(emulator: Emulator, client: ManagedIdentityClient) -> None:
    token = client.acquire_token(RESOURCE)
    certificate = token.certificate
    assert certificate is not None
    authorized = [("Authorization", token.authorization)]
    response = certificate._send("GET", secret(emulator), authorized, None, 60.0).wait()
    assert response.status == 200
    other = client.acquire_token(RESOURCE, attested=False)
    bearer = client.bearer_token(RESOURCE)
    emulator.reset()
    for wrong, kind in ((other, keybound.BindingRefused), (bearer, keybound.BindingRefused), (None, keybound.InvalidRequest)):
        headers = [("Authorization", wrong.authorization)] if wrong else []
        with pytest.raises(kind):
            certificate._send("GET", secret(emulator), headers, None, 60.0).wait()
    assert emulator.counts() == {}
    certificate.close()
    with pytest.raises(RuntimeError, match="closed"):
        certificate._send("GET", secret(emulator), authorized, None, 60.0)
