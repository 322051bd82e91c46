"""Calls through a proxy that verifies tokens, to an API that gets the caller."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import TYPE_CHECKING

import keybound
import keybound.requests

if TYPE_CHECKING:
    from pathlib import Path

    from proxies import Proxy

    from keybound.emulator import Emulator

pytest_plugins = ["proxies", "recorder"]


def test_the_api_gets_the_caller_and_a_stolen_token_is_denied(proxy: Proxy, emulator: Emulator, recorder_certificate: Path) -> None:
    settings = emulator.client_settings
    settings["loopback_ca_pem"] += recorder_certificate.read_bytes()
    calls = keybound.BoundCalls(keybound.ManagedIdentityClient(**settings))
    session = keybound.requests.session(calls, "api://orders")
    response = session.get(f"{proxy.origin}/orders", headers={"X-Keybound-Client": "another", "X_Keybound_Roles": "Admin"})
    assert response.status_code == 200, response.text
    headers = response.json()["headers"]
    decision = proxy.decision(0)
    assert (decision["decision"], decision["path"]) == ("allowed", "/orders")
    assert headers["x-keybound-client"] == decision["client"]
    assert headers["x-keybound-identity-type"] == "app"
    token = calls.acquire_token("api://orders")
    assert token.token not in json.dumps(response.json())
    assert "Admin" not in response.text

    thief = ssl.create_default_context(cafile=str(recorder_certificate))
    thief.load_cert_chain(recorder_certificate)
    connection = http.client.HTTPSConnection(proxy.origin.partition("://")[2], context=thief)
    connection.request("GET", "/orders", headers={"Authorization": token.authorization})
    denied = connection.getresponse()
    assert denied.status == 401
    assert "the token is bound to another certificate" in str(denied.headers["WWW-Authenticate"])
    connection.close()
    assert (proxy.decision(1)["decision"], proxy.decision(1)["reason"]) == ("denied", "binding_mismatch")
