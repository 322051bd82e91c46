from __future__ import annotations

import base64
import json

import pytest

import keybound

# Any DER: only its hash counts.
DER = b"\x30\x03\x02\x01\x01"
PEM = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n"


def jwt(payload: object, *, padding: bool = False) -> str:
    text = payload if isinstance(payload, str) else json.dumps(payload)
    encoded = base64.urlsafe_b64encode(text.encode()).decode()
    return f"header.{encoded if padding else encoded.rstrip('=')}.signature"


def bound(thumbprint: object) -> dict[str, object]:
    return {"cnf": {"x5t#S256": thumbprint}, "name": "é"}


def test_thumbprints() -> None:
    assert keybound.thumbprint(DER) == keybound.thumbprint(PEM) == keybound.thumbprint(PEM.encode())
    assert len(keybound.thumbprint(DER)) == 43
    assert not keybound.thumbprint(DER).endswith("=")
    assert keybound.thumbprint(DER[:-1] + b"\x02") != keybound.thumbprint(DER)
    # What openssl prints before a certificate may begin with the digit 0, which is the first byte of a certificate in DER.
    assert (
        keybound.thumbprint("0 s:CN = x\n" + PEM) == keybound.thumbprint(b"0 s:CN = x\n" + PEM.encode()) == keybound.thumbprint(DER)
    )
    for text in (
        "",
        "no certificate",
        "0",
        b"0",
        "0garbage",
        DER[:-1],
        DER + b"\x00",
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----",
    ):
        with pytest.raises(ValueError, match="."):
            keybound.thumbprint(text)


@pytest.mark.parametrize("padding", [False, True])
def test_a_token_of_the_certificate(padding: bool) -> None:
    token = jwt(bound(keybound.thumbprint(DER)), padding=padding)
    assert keybound.verify_binding(token, PEM)
    assert not keybound.verify_binding(token, "no certificate")


@pytest.mark.parametrize(
    "token",
    [
        jwt(bound("A" * 43)),
        jwt(bound(None)),
        jwt(bound("é")),
        jwt({}),
        jwt({"cnf": {}}),
        jwt({"cnf": "x"}),
        jwt([]),
        jwt("not json"),
        jwt("[" * 100_000),
        "",
        "two.parts",
        jwt(bound(keybound.thumbprint(DER))) + ".fourth",
        "header.!!!.signature",
        jwt('{"cnf":{"x5t#S256":"A"},"cnf":' + json.dumps(bound(keybound.thumbprint(DER))["cnf"]) + "}"),
    ],
)
def test_any_other_token(token: str) -> None:
    assert keybound.verify_binding(token, PEM) is False
