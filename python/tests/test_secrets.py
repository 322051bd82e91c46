from __future__ import annotations

import copy
import logging
import pickle
import traceback
from typing import TYPE_CHECKING

import pytest
from conftest import RESOURCE

import keybound
from keybound import BoundCalls, ManagedIdentityClient
from keybound.emulator import Emulator

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
    assert any(record.levelno == logging.DEBUG for record in caplog.records)
    for token in tokens:
        assert not any(part in caplog.text for part in parts_of(token))
