"""`verify_cnf_binding` and `get_cert_thumbprint_sha256` of `keybound.msal.msi_v2`."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any, Callable

import pytest
from conftest import RESOURCE

from keybound.msal.msi_v2 import get_cert_thumbprint_sha256, verify_cnf_binding

if TYPE_CHECKING:
    import keybound
    from keybound.emulator import Emulator


@pytest.fixture
def pem(emulator: Emulator, warm_client: keybound.ManagedIdentityClient) -> str:
    certificate = warm_client.acquire_token(RESOURCE).certificate
    assert certificate is not None
    return certificate.public_certificate_pem


@pytest.fixture
def other_pem(emulator: Emulator, warm_client: keybound.ManagedIdentityClient) -> str:
    certificate = warm_client.acquire_token(RESOURCE, attested=False).certificate
    assert certificate is not None
    return certificate.public_certificate_pem


def encode(value: object, padding: bool = False) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
    encoded = urlsafe_b64encode(text).decode()
    return encoded if padding else encoded.rstrip("=")


def jwt(payload: object, padding: bool = False) -> str:
    return f"{encode({'alg': 'RS256'}, padding)}.{encode(payload, padding)}.{encode(b'signature')}"


TOKENS: list[tuple[str, bool, Callable[[str], str]]] = [
    ("bound", True, lambda x5t: jwt({"cnf": {"x5t#S256": x5t}})),
    ("with padding", True, lambda x5t: jwt({"cnf": {"x5t#S256": x5t}, "a": "1"}, padding=True)),
    ("with letters beyond ASCII", True, lambda x5t: jwt({"cnf": {"x5t#S256": x5t}, "name": "日本 ÿ"})),
    ("another thumbprint", False, lambda _: jwt({"cnf": {"x5t#S256": "wrong"}})),
    ("no cnf", False, lambda _: jwt({"sub": "x"})),
    ("an empty cnf", False, lambda _: jwt({"cnf": {}})),
    ("a text as cnf", False, lambda x5t: jwt({"cnf": x5t})),
    ("a number as thumbprint", False, lambda _: jwt({"cnf": {"x5t#S256": 1}})),
    ("an empty thumbprint", False, lambda _: jwt({"cnf": {"x5t#S256": ""}})),
    ("a list as payload", False, lambda x5t: jwt([x5t])),
    ("two thumbprints", False, lambda x5t: jwt(f'{{"cnf":{{"x5t#S256":"wrong","x5t#S256":"{x5t}"}}}}'.encode())),
    ("no parts", False, lambda _: "notajwt"),
    ("two parts", False, lambda x5t: jwt({"cnf": {"x5t#S256": x5t}}).rpartition(".")[0]),
    ("four parts", False, lambda x5t: jwt({"cnf": {"x5t#S256": x5t}}) + ".x"),
    ("no base64url", False, lambda _: "header.!!!.signature"),
    ("no JSON", False, lambda _: jwt(b"not JSON")),
    ("nothing", False, lambda _: ""),
]


@pytest.mark.parametrize(("is_bound", "token"), [case[1:] for case in TOKENS], ids=[case[0] for case in TOKENS])
def test_tokens_are_bound_by_their_cnf_alone(pem: str, is_bound: bool, token: Callable[[str], str]) -> None:
    assert verify_cnf_binding(token(get_cert_thumbprint_sha256(pem)), pem) is is_bound


def test_tokens_are_bound_to_one_certificate(pem: str, other_pem: str) -> None:
    token = jwt({"cnf": {"x5t#S256": get_cert_thumbprint_sha256(pem)}})
    assert verify_cnf_binding(token, pem.rstrip("\n"))
    assert not verify_cnf_binding(token, other_pem)


NOT_CERTIFICATES: list[Any] = [
    "",
    "no certificate",
    "0",
    "0garbage",
    "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----",
    None,
    1,
]


@pytest.mark.parametrize("text", NOT_CERTIFICATES)
def test_nothing_is_bound_to_what_is_not_a_certificate(text: Any) -> None:
    assert get_cert_thumbprint_sha256(text) == ""
    assert not verify_cnf_binding(jwt({"cnf": {"x5t#S256": ""}}), text)


@pytest.mark.parametrize("token", [None, 1, b"a.b.c"])
def test_what_is_not_a_token_is_not_bound(pem: str, token: Any) -> None:
    assert not verify_cnf_binding(token, pem)


def test_thumbprints_are_sha256_of_the_certificate(pem: str, other_pem: str) -> None:
    der = b64decode("".join(pem.splitlines()[1:-1]))
    found = get_cert_thumbprint_sha256(pem)
    assert urlsafe_b64decode(found + "=") == hashlib.sha256(der).digest()
    assert len(found) == 43
    assert found == get_cert_thumbprint_sha256(pem)
    assert found != get_cert_thumbprint_sha256(other_pem)
