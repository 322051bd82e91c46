from __future__ import annotations

import json
import pickle
import sys
from typing import TYPE_CHECKING, Any

import pytest
from conftest import RESOURCE

import keybound
import keybound.msal as msal
from keybound.schannel_transport import SchannelHttpError, SchannelResponse, SchannelSession, SchannelTransportError

if TYPE_CHECKING:
    from keybound.emulator import Emulator


@pytest.fixture
def result(emulated: Emulator) -> dict[str, Any]:
    client = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity())
    return client.acquire_token_for_client(resource=RESOURCE, mtls_proof_of_possession=True, with_attestation_support=True)


@pytest.fixture
def session(result: dict[str, Any]) -> SchannelSession:
    return SchannelSession(client_certificate=result["binding_certificate"])


@pytest.fixture
def headers(result: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"{result['token_type']} {result['access_token']}"}


@pytest.fixture
def secret(emulated: Emulator) -> str:
    return f"{emulated.vault}/secrets/db?api-version=7.5"


def test_bound_tokens_are_accepted(session: SchannelSession, headers: dict[str, str], secret: str) -> None:
    with session:
        response = session.get(secret, headers=headers)
    assert response.status_code == 200
    assert response.json()["value"] == "correct horse"
    assert json.loads(response.text) == json.loads(response.content) == response.json()
    assert response.headers["Content-Type"].startswith("application/json")
    assert repr(response) == "<SchannelResponse [200]>"
    response.raise_for_status()


def test_certificates_know_their_servers(emulator: Emulator, secret: str) -> None:
    """Trust and proxy are those of the client that acquired the certificate."""
    token = keybound.ManagedIdentityClient(**emulator.client_settings).acquire_token(RESOURCE)
    assert token.certificate is not None
    response = SchannelSession(token.certificate).get(secret, headers={"authorization": token.authorization})
    assert response.status_code == 200


def test_requests_have_parameters_and_bodies(emulated: Emulator, session: SchannelSession, headers: dict[str, str]) -> None:
    url = f"{emulated.vault}/secrets/sent"
    version = {"api-version": "7.4"}
    sent = session.request("PUT", url, headers=headers, params=version, json_body={"value": "x"})
    assert sent.status_code == 200
    assert session.get(url, headers=headers, params=version).json()["value"] == "x"
    given = {**headers, "content-type": "application/json"}
    raw = session.request("PUT", f"{url}?api-version=7.4", headers=given, data=b'{"value":"y"}')
    assert raw.json()["value"] == "y"
    # A vault has no POST for a secret; the request reaches it.
    assert session.post(url, headers=headers, params=version, json_body={"value": "z"}).status_code in (404, 405)


def test_error_statuses(emulated: Emulator, session: SchannelSession, headers: dict[str, str]) -> None:
    response = session.get(f"{emulated.vault}/secrets/absent?api-version=7.4", headers=headers)
    with pytest.raises(SchannelHttpError, match=r"^HTTP 404: ") as caught:
        response.raise_for_status()
    assert caught.value.status_code == 404
    assert caught.value.body == response.content


def test_messages_of_errors_are_short_and_without_tokens(result: dict[str, Any]) -> None:
    body = f'{{"error": "{result["access_token"]}", "text": "{"x" * 300}"}}'.encode()
    with pytest.raises(SchannelHttpError) as caught:
        SchannelResponse(401, body).raise_for_status()
    message = str(caught.value)
    assert len(message) == len("HTTP 401: ") + 200
    assert "[token]" in message
    assert result["access_token"].rpartition(".")[2][:20] not in message
    SchannelResponse(302, b"").raise_for_status()


def test_tokens_of_other_certificates_are_not_sent(emulated: Emulator, session: SchannelSession, secret: str) -> None:
    other = keybound.ManagedIdentityClient(**emulated.client_settings).acquire_token(RESOURCE)
    bearer = keybound.ManagedIdentityClient(**emulated.client_settings).bearer_token(RESOURCE)
    for token, code in ((other, "binding_mismatch"), (bearer, "token_not_bound")):
        with pytest.raises(keybound.BindingRefused) as caught:
            session.get(secret, headers={"Authorization": token.authorization})
        assert caught.value.code == code
        assert token.token not in str(caught.value)
    assert "vault-tls" not in emulated.counts()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"a:b": "x"}, "header name"),
        ({"a\r\nb": "x"}, "header name"),
        ({"a": "x\r\nb: y"}, "value of header 'a'"),
        ({"Authorization": "mtls_pop secret\n"}, "value of header 'Authorization'"),
        ({"authorization": "mtls_pop x"}, "one Authorization header"),
        ({"Authorization": "mtls_pop"}, "Authorization"),
        ({"\u20ac": "x"}, "header"),
    ],
)
def test_malformed_headers_are_not_sent(
    emulated: Emulator, session: SchannelSession, headers: dict[str, str], secret: str, changed: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        session.get(secret, headers={**headers, **changed})
    assert "secret" not in str(caught.value)
    assert "vault-tls" not in emulated.counts()


@pytest.mark.parametrize("changed", [{"a": b"x"}, {b"a": "x"}, {"a": None}])
def test_headers_are_text(session: SchannelSession, headers: dict[str, str], secret: str, changed: Any) -> None:
    with pytest.raises(TypeError, match="header"):
        session.get(secret, headers={**headers, **changed})


def test_bodies_are_bytes(session: SchannelSession, headers: dict[str, str], secret: str) -> None:
    text: Any = "text"
    with pytest.raises(TypeError, match="the body is bytes, not str"):
        session.post(secret, headers=headers, data=text)


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "127.0.0.1", "https://", "ftp://x/", ""])
def test_other_urls_are_not_sent(session: SchannelSession, headers: dict[str, str], url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        session.get(url, headers=headers)


def test_the_token_is_required(session: SchannelSession, secret: str) -> None:
    with pytest.raises(ValueError, match="one Authorization header"):
        session.get(secret)


def test_failures_of_the_connection_are_os_errors(
    emulated: Emulator, session: SchannelSession, headers: dict[str, str], secret: str
) -> None:
    # The message has the causes: programs show nothing else.
    with pytest.raises(SchannelTransportError, match=r"^\[SchannelSession\] .*127\.0\.0\.1:1") as caught:
        session.get("https://127.0.0.1:1/", headers=headers)
    assert isinstance(caught.value, OSError)
    assert caught.value.code == "unreachable"
    assert isinstance(caught.value.__cause__, keybound.Unreachable)
    duplicate = pickle.loads(pickle.dumps(caught.value))
    assert (str(duplicate), duplicate.code) == (str(caught.value), "unreachable")
    emulated.inject("vault=never-ask")
    with pytest.raises(OSError, match=r"^\[SchannelSession\] ") as refused:
        session.get(secret, headers=headers)
    assert getattr(refused.value, "code", None) == "client_certificate_not_requested"


def test_timeouts_are_os_errors(emulated: Emulator, result: dict[str, Any], headers: dict[str, str], secret: str) -> None:
    emulated.inject("vault=delay:10000")
    session = SchannelSession(result["binding_certificate"], timeout=0.2)
    with pytest.raises(SchannelTransportError) as caught:
        session.get(secret, headers=headers)
    assert caught.value.code == "deadline_exceeded"


def test_closed_sessions_and_certificates(result: dict[str, Any], headers: dict[str, str], secret: str) -> None:
    certificate = result["binding_certificate"]
    session = SchannelSession(certificate)
    assert repr(session) == "<SchannelSession [open]>"
    session.close()
    session.close()
    assert repr(session) == "<SchannelSession [closed]>"
    with pytest.raises(RuntimeError, match="closed"):
        session.get(secret, headers=headers)
    # The certificate is the caller's.
    with SchannelSession(certificate) as session:
        certificate.close()
        with pytest.raises(RuntimeError, match="closed"):
            session.get(secret, headers=headers)
    with pytest.raises(ValueError, match="no private key"):
        SchannelSession(certificate)


def test_certificates_are_of_the_package() -> None:
    for other in (None, object(), "certificate.pem"):
        with pytest.raises(TypeError, match="client_certificate"):
            SchannelSession(other)  # type: ignore[arg-type]


def test_certificates_give_no_native_pointer(result: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match="SchannelSession"):
        result["binding_certificate"].create_cert_context()


def test_certificates_are_shown_by_their_thumbprint(result: dict[str, Any]) -> None:
    certificate = result["binding_certificate"]
    shown = f"<WindowsCertificate {certificate.thumbprint_sha1[:16]}..."
    assert repr(certificate) == f"{shown} [open]>"
    certificate.close()
    assert repr(certificate) == f"{shown} [closed]>"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has stores of certificates")
@pytest.mark.parametrize("arguments", [{}, {"thumbprint": "x"}, {"subject_name": "x"}])
def test_stores_are_of_windows(arguments: dict[str, str]) -> None:
    with pytest.raises(OSError, match=r"^WindowsCertificate\.from_store\(\) is only supported on Windows$"):
        msal.WindowsCertificate.from_store(**arguments)
