from __future__ import annotations

import json
import sys
from base64 import urlsafe_b64encode
from typing import Any, Callable

import pytest

import keybound
from keybound.key_attestation import attestation, create_attestation_provider, get_attestation_jwt
from keybound.key_attestation._jwt_cache import JwtCache, Key

ENDPOINT = "https://attestation.example"
CLIENT_ID = "5a5a5a5a-0000-4000-8000-000000000001"
ARGUMENTS: dict[str, Any] = {"attestation_endpoint": ENDPOINT, "client_id": CLIENT_ID, "key_handle": 1}
KEY = Key(ENDPOINT, CLIENT_ID, "name", "", "{}")


def jwt(**claims: object) -> str:
    payload = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"header.{payload}.signature"


@pytest.mark.parametrize(("name", "empty"), [("attestation_endpoint", ""), ("client_id", ""), ("key_handle", 0)])
def test_arguments_are_not_empty(name: str, empty: object) -> None:
    with pytest.raises(ValueError, match=rf"^\[msal_key_attestation\] {name}"):
        get_attestation_jwt(**{**ARGUMENTS, name: empty})


@pytest.mark.parametrize("handle", [-1, 1 << 64])
def test_handles_are_in_the_range_of_handles(handle: int) -> None:
    with pytest.raises(ValueError, match=r"^\[msal_key_attestation\] key_handle"):
        get_attestation_jwt(**{**ARGUMENTS, "key_handle": handle})


@pytest.mark.parametrize("changed", [{"attestation_endpoint": "http://x"}, {"client_id": "x"}, {"auth_token": "a\0b"}])
def test_arguments_are_well_formed(changed: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=".") as caught:
        get_attestation_jwt(**{**ARGUMENTS, **changed})
    assert isinstance(caught.value, keybound.InvalidRequest)


@pytest.mark.skipif(sys.platform == "win32", reason="the native library may be installed")
def test_other_platforms_cannot_attest() -> None:
    provider = create_attestation_provider()
    calls: list[Callable[[], str]] = [
        lambda: get_attestation_jwt(**ARGUMENTS),
        lambda: provider(ENDPOINT, 1, CLIENT_ID, "name"),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match=r"^\[msal_key_attestation\] ") as caught:
            call()
        assert isinstance(caught.value.__cause__, keybound.AttestationFailed)
        assert caught.value.__cause__.code == "attestation_unavailable"


def test_providers_pass_their_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def get(**arguments: Any) -> str:
        calls.append(arguments)
        return "jwt"

    monkeypatch.setattr(attestation, "get_attestation_jwt", get)
    provider = create_attestation_provider()
    assert provider(ENDPOINT, 7, CLIENT_ID, "name") == "jwt"
    assert provider(ENDPOINT, 7, CLIENT_ID) == "jwt"
    expected = {"attestation_endpoint": ENDPOINT, "key_handle": 7, "client_id": CLIENT_ID}
    assert calls == [{**expected, "cache_key": "name"}, {**expected, "cache_key": None}]


def test_tokens_are_cached_by_their_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []

    def attest(*arguments: object) -> str:
        calls.append(arguments)
        return jwt(iat=1000, exp=2000, number=len(calls))

    monkeypatch.setattr(attestation, "_attest", attest)
    monkeypatch.setattr(attestation, "_cache", JwtCache(lambda: 1000.0))
    first = get_attestation_jwt(**ARGUMENTS)
    assert get_attestation_jwt(**ARGUMENTS) == first
    assert get_attestation_jwt(**ARGUMENTS, cache_key="handle:1") == first
    others: list[dict[str, Any]] = [{"key_handle": 2}, {"cache_key": "name"}, {"auth_token": "a"}, {"client_payload": '{"a":1}'}]
    for changed in others:
        assert get_attestation_jwt(**{**ARGUMENTS, **changed}) != first
    assert get_attestation_jwt(**{**ARGUMENTS, "key_handle": 3, "cache_key": "name"}) != first
    assert len(calls) == 5


@pytest.mark.parametrize(
    ("claims", "usable_until"),
    [
        ({"iat": 1000, "exp": 2000}, 1900),
        ({"iat": 1000, "exp": 1050}, 1040),
        ({"exp": 2000}, 1900),
        ({"iat": "1000", "exp": "2000"}, 1900),
        ({"iat": 1000.0, "exp": 2000.0}, 1900),
        ({"iat": 1000, "exp": 1000}, None),
        ({"iat": 1000, "exp": 900}, None),
        ({"iat": 1000}, None),
        ({"exp": True}, None),
        ({"exp": None}, None),
    ],
)
def test_tokens_are_cached_for_most_of_their_lifetime(claims: dict[str, object], usable_until: float | None) -> None:
    now = 1000.0
    cache = JwtCache(lambda: now)
    token = jwt(**claims)
    cache.add(KEY, token)
    if usable_until is None:
        assert cache.find(KEY) is None
        return
    now = usable_until - 0.01
    assert cache.find(KEY) == token
    assert cache.find(KEY._replace(auth_token_digest="other")) is None
    now = usable_until
    assert cache.find(KEY) is None


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.!.c", "a.W10.c", "a.MQ.c"])
def test_what_is_not_a_jwt_is_not_cached(text: str) -> None:
    cache = JwtCache(lambda: 0.0)
    cache.add(KEY, text)
    assert cache.find(KEY) is None


@pytest.mark.parametrize(
    ("value", "is_on"), [("1", True), ("yes", True), (" TRUE ", True), ("0", False), ("", False), ("no", False)]
)
def test_the_cache_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, value: str, is_on: bool) -> None:
    cache = JwtCache(lambda: 1000.0)
    token = jwt(iat=1000, exp=2000)
    cache.add(KEY, token)
    monkeypatch.setenv("MSAL_MSI_V2_ATTESTATION_CACHE", value)
    assert cache.find(KEY) == (token if is_on else None)
    cache = JwtCache(lambda: 1000.0)
    cache.add(KEY, token)
    monkeypatch.delenv("MSAL_MSI_V2_ATTESTATION_CACHE")
    assert cache.find(KEY) == (token if is_on else None)
