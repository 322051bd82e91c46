from __future__ import annotations

import copy
import logging
import pickle
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any, Callable

import pytest
from conftest import RESOURCE, wait_for_records

import keybound
import keybound.msal as msal
from keybound import BoundCalls, ManagedIdentityClient
from keybound.emulator import Emulator
from keybound.key_attestation import get_attestation_jwt
from keybound.schannel_transport import SchannelSession

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def token(warm_client: ManagedIdentityClient) -> keybound.AccessToken:
    return warm_client.acquire_token(RESOURCE)


def parts_of(token: keybound.AccessToken) -> list[str]:
    """What must not be shown: the token, its parts, and its beginning, as of a shortened one."""
    return [token.token, *token.token.split(".")[1:], token.token[:40]]


def shown_by(value: object) -> Iterator[str]:
    yield repr(value)
    yield str(value)
    yield f"{value}"
    yield repr([value])
    yield repr(getattr(value, "__dict__", None))


def test_tokens_are_not_shown(emulator: Emulator, warm_client: ManagedIdentityClient, token: keybound.AccessToken) -> None:
    calls = BoundCalls(warm_client)
    response = warm_client.resource(RESOURCE).get(f"{emulator.vault}/secrets/db?api-version=7.4")
    values = [token, token.certificate, warm_client, warm_client._native, calls, response, response.headers, response._native]
    for value in values:
        for text in shown_by(value):
            assert not any(part in text for part in parts_of(token)), type(value)
            assert "correct horse" not in text
    assert emulator.ready["control"]["secret"] not in repr(emulator)


def test_nothing_with_secrets_can_be_pickled_or_copied(emulator: Emulator, warm_client: ManagedIdentityClient) -> None:
    token = warm_client.acquire_token(RESOURCE)
    vault = warm_client.resource(RESOURCE)
    response = vault.get(f"{emulator.vault}/secrets/db?api-version=7.4")
    for value in (token, token.certificate, warm_client, vault, response, BoundCalls(warm_client), emulator):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError):
                pickle.dumps(value, protocol)
        with pytest.raises(TypeError):
            copy.deepcopy(value)


def test_tracebacks_with_locals_do_not_show_tokens(warm_client: ManagedIdentityClient, token: keybound.AccessToken) -> None:
    def fails(given: keybound.AccessToken, client: ManagedIdentityClient) -> None:
        raise LookupError

    with pytest.raises(LookupError) as caught:
        fails(token, warm_client)
    text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "given = <keybound.AccessToken" in text
    assert not any(part in text for part in parts_of(token))


def locals_of(error: BaseException) -> str:
    """The traceback with local variables, except for those of the first frame, which is the test's own."""
    return "".join(traceback.TracebackException(type(error), error, error.__traceback__.tb_next, capture_locals=True).format())  # type: ignore[union-attr]


@pytest.mark.parametrize("url", ["https://127.0.0.1:1/", "http://127.0.0.1/"])
@pytest.mark.parametrize("changed", [{}, {"x": "a\n"}, {"x": 1}])
def test_sessions_do_not_show_tokens_in_tracebacks(
    warm_client: ManagedIdentityClient, token: keybound.AccessToken, url: str, changed: dict[str, str]
) -> None:
    assert token.certificate is not None
    session = SchannelSession(token.certificate)
    calls: list[Callable[..., object]] = [session.get, session.post, partial(session.request, "PUT")]
    for call in calls:
        with pytest.raises((OSError, ValueError, TypeError)) as caught:
            call(url, headers={"Authorization": token.authorization, **changed})
        text = locals_of(caught.value)
        assert "url = " in text
        assert not any(part in text for part in parts_of(token))
    with pytest.raises(ValueError, match="value of header 'Authorization'") as refused:
        session.get(url, headers={"Authorization": token.authorization + "\n"})
    assert not any(part in locals_of(refused.value) for part in parts_of(token))
    with pytest.raises(TypeError, match="serializable") as unsuitable:
        session.post("https://127.0.0.1:1/", headers={"Authorization": token.authorization}, json_body=object())
    assert not any(part in locals_of(unsuitable.value) for part in parts_of(token))


class FailingCache:
    """A cache for `keybound.msal` that fails to store or to read, and shows nothing itself."""

    class CredentialType:
        ACCESS_TOKEN = "AccessToken"

    def __init__(self, *entries: dict[str, object]) -> None:
        self._entries = entries

    def search(self, *_: object, **__: object) -> Iterator[dict[str, object]]:
        return iter(self._entries)

    def __getattr__(self, name: str) -> Callable[..., None]:
        raise KeyError(name)


def test_bearer_tokens_of_msal_are_not_shown_in_tracebacks(emulator: Emulator, warm_client: ManagedIdentityClient) -> None:
    token = warm_client.bearer_token(RESOURCE)
    empty = msal.ManagedIdentityClient(client=warm_client, token_cache=FailingCache())
    with pytest.raises(KeyError) as caught:
        empty.acquire_token_for_client(resource=RESOURCE)
    malformed = FailingCache({"secret": token.token, "expires_on": "soon"})
    with pytest.raises(ValueError, match="soon") as unreadable:
        msal.ManagedIdentityClient(client=warm_client, token_cache=malformed).acquire_token_for_client(resource=RESOURCE)
    for error in (caught.value, unreadable.value):
        text = locals_of(error)
        assert "resource = " in text
        assert not any(part in text for part in parts_of(token))


@pytest.mark.parametrize("malformed", [{"client_id": "x"}, {"client_payload": "["}, {"key_handle": 0}, {}])
def test_tokens_for_attestation_are_not_shown_in_tracebacks(token: keybound.AccessToken, malformed: dict[str, Any]) -> None:
    arguments = {
        "attestation_endpoint": "https://127.0.0.1:1",
        "client_id": "5a5a5a5a-0000-4000-8000-000000000001",
        "key_handle": 1,
    }
    with pytest.raises((ValueError, RuntimeError)) as caught:
        get_attestation_jwt(**{**arguments, "auth_token": token.token, **malformed})
    text = locals_of(caught.value)
    assert "client_id = " in text
    assert not any(part in text for part in parts_of(token))


def test_errors_do_not_show_tokens(emulator: Emulator, warm_client: ManagedIdentityClient, token: keybound.AccessToken) -> None:
    # The resource repeats what it received.
    emulator.inject(f'vault=status:403,body={{"error":{{"code":"x","message":"you sent {token.token}"}}}}*1')
    response = warm_client.resource(RESOURCE).get(f"{emulator.vault}/secrets/db?api-version=7.4")
    with pytest.raises(keybound.ServiceRefused) as caught:
        response.raise_for_status()
    text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "you sent" in text
    assert not any(part in text + repr(caught.value.__dict__) for part in parts_of(token))


def test_logs_do_not_show_tokens(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(1, "keybound"):
        client = ManagedIdentityClient(**emulator.client_settings)
        tokens = [client.acquire_token(RESOURCE), client.bearer_token(RESOURCE)]
        client.resource(RESOURCE).get(f"{emulator.vault}/secrets/db?api-version=7.4").read()
        wait_for_records()
    assert any(record.levelno == logging.DEBUG for record in caplog.records)
    for token in tokens:
        assert not any(part in caplog.text for part in parts_of(token))
