"""Bound tokens through `keybound.msal`."""

from __future__ import annotations

import json
import logging
import threading
from base64 import b64decode, urlsafe_b64decode
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from conftest import RESOURCE, wait_for_records

import keybound
import keybound.msal as msal
from keybound.key_attestation import create_attestation_provider
from keybound.msal import msi_v2

if TYPE_CHECKING:
    from keybound.emulator import Emulator

GRAPH = "https://graph.microsoft.com"
CLAIMS = '{"access_token": {"nbf": {"essential": true, "value": "1700000000"}}}'


@pytest.fixture
def msal_client(emulated: Emulator) -> msal.ManagedIdentityClient:
    return msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity())


def bound(client: msal.ManagedIdentityClient, attested: bool = True, **options: Any) -> dict[str, Any]:
    options.setdefault("resource", RESOURCE)
    return client.acquire_token_for_client(mtls_proof_of_possession=True, with_attestation_support=attested, **options)


def claims(token: str) -> dict[str, Any]:
    _, payload, _ = token.split(".")
    decoded: dict[str, Any] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return decoded


def test_results_have_the_members_of_the_original(msal_client: msal.ManagedIdentityClient) -> None:
    result = bound(msal_client)
    assert set(result) == {
        "access_token",
        "binding_certificate",
        "binding_certificate_metadata",
        "cert_der_b64",
        "cert_pem",
        "cert_thumbprint_sha256",
        "expires_in",
        "resource",
        "token_source",
        "token_type",
    }
    assert result["token_type"] == "mtls_pop"
    assert result["token_source"] == "identity_provider"
    assert isinstance(result["expires_in"], int)
    assert 0 < result["expires_in"] <= 86400
    assert claims(result["access_token"])["cnf"]["x5t#S256"] == result["cert_thumbprint_sha256"]
    assert msi_v2.verify_cnf_binding(result["access_token"], result["cert_pem"])


def test_results_have_the_certificate_in_each_form(msal_client: msal.ManagedIdentityClient) -> None:
    result = bound(msal_client)
    certificate = result["binding_certificate"]
    assert type(certificate) is msal.WindowsCertificate is keybound.BindingCertificate
    lines = result["cert_pem"].split("\n")
    assert (lines[0], lines[-1]) == ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----")
    assert {len(line) for line in lines[1:-2]} == {64}
    der = b64decode(result["cert_der_b64"], validate=True)
    assert der == certificate.public_certificate_der == b64decode("".join(lines[1:-1]))
    assert certificate.public_certificate_pem == result["cert_pem"] + "\n"
    assert result["cert_thumbprint_sha256"] == certificate.x5t_s256 == msi_v2.get_cert_thumbprint_sha256(result["cert_pem"])
    assert result["binding_certificate_metadata"] == certificate.to_metadata_dict()
    json.dumps(result["binding_certificate_metadata"])
    assert certificate.has_private_key
    assert certificate.attested


def test_results_are_independent(emulated: Emulator, msal_client: msal.ManagedIdentityClient) -> None:
    first = bound(msal_client)
    first["binding_certificate"].close()
    first["binding_certificate_metadata"].clear()
    second = bound(msal_client)
    assert second["token_source"] == "cache"
    assert second["access_token"] == first["access_token"]
    assert second["binding_certificate"].has_private_key
    assert second["binding_certificate_metadata"]["has_private_key"] is True
    assert emulated.counts()["token"] == 1


def test_pop_without_attestation_is_bound(emulated: Emulator, msal_client: msal.ManagedIdentityClient) -> None:
    result = bound(msal_client, attested=False)
    assert result["token_type"] == "mtls_pop"
    assert not result["binding_certificate"].attested
    assert msi_v2.verify_cnf_binding(result["access_token"], result["cert_pem"])
    assert "attest" not in emulated.counts()


def test_pop_without_attestation_is_an_error_where_imds_requires_it(strict_emulator: Emulator) -> None:
    with pytest.raises(msal.MsiV2Error) as caught:
        bound(msal.ManagedIdentityClient(), attested=False)
    assert (caught.value.code, caught.value.stage, caught.value.status) == ("refused", "credential", 400)
    # No bearer token was requested instead.
    assert set(strict_emulator.counts()) == {"metadata", "issue"}


def test_attestation_requires_pop(emulated: Emulator, msal_client: msal.ManagedIdentityClient) -> None:
    with pytest.raises(msal.ManagedIdentityError, match=r"^attestation_requires_pop:") as caught:
        msal_client.acquire_token_for_client(resource=RESOURCE, with_attestation_support=True)
    assert caught.value.code == "attestation_requires_pop"
    assert len(caught.value.args) == 1
    assert not isinstance(caught.value, msal.MsiV2Error)
    assert emulated.counts() == {}


def test_failures_are_never_bearer_tokens(emulated: Emulator, msal_client: msal.ManagedIdentityClient) -> None:
    emulated.inject("token=aadsts:500011*1")
    with pytest.raises(msal.MsiV2Error, match=r"^\[msi_v2\] ") as caught:
        bound(msal_client)
    error, cause = caught.value, caught.value.__cause__
    assert isinstance(cause, keybound.ServiceRefused)
    for name in ("code", "stage", "status", "service", "retryable", "deadline_reached", "next_step"):
        assert getattr(error, name) == getattr(cause, name)
    assert error.service["codes"] == [500011]
    assert isinstance(error, (msal.ManagedIdentityError, ValueError))
    assert "imds-token" not in emulated.counts()


def test_hosts_without_imds_v2_are_errors(emulated: Emulator) -> None:
    emulated.inject("metadata=status:404")
    own = keybound.ManagedIdentityClient(retries=False)
    with pytest.raises(msal.MsiV2Error) as caught:
        bound(msal.ManagedIdentityClient(client=own))
    assert caught.value.code == "imds_v2_unavailable"
    assert set(emulated.counts()) == {"metadata"}


def test_claims_challenges_get_a_new_certificate_and_token(emulated: Emulator, msal_client: msal.ManagedIdentityClient) -> None:
    first = bound(msal_client)
    second = bound(msal_client, claims_challenge=CLAIMS)
    assert second["token_source"] == "identity_provider"
    assert second["access_token"] != first["access_token"]
    assert second["cert_thumbprint_sha256"] != first["cert_thumbprint_sha256"]
    assert emulated.counts()["issue"] == 2


def test_client_capabilities_are_in_the_token(emulated: Emulator) -> None:
    client = msal.ManagedIdentityClient(client_capabilities=["CP1"])
    assert claims(bound(client)["access_token"])["xms_cc"] == ["CP1"]


def test_threads_share_one_request(emulated: Emulator, msal_client: msal.ManagedIdentityClient) -> None:
    barrier = threading.Barrier(16)

    def acquire(_number: int) -> str:
        barrier.wait()
        token: str = bound(msal_client)["access_token"]
        return token

    with ThreadPoolExecutor(16) as threads:
        assert len(set(threads.map(acquire, range(16)))) == 1
    assert emulated.counts()["token"] == 1


def test_clients_bring_their_own_settings(emulator: Emulator) -> None:
    own = keybound.ManagedIdentityClient(**emulator.client_settings)
    client = msal.ManagedIdentityClient(client=own)
    assert bound(client)["access_token"] == own.acquire_token(RESOURCE).token
    with pytest.raises(msal.ManagedIdentityError, match="client_capabilities"):
        msal.ManagedIdentityClient(client=own, client_capabilities=["CP1"])
    with pytest.raises(TypeError, match=r"client is a keybound\.ManagedIdentityClient, not keybound\.msal\.managed_identity\.Man"):
        msal.ManagedIdentityClient(client=client)  # type: ignore[arg-type]
    with pytest.raises(msal.ManagedIdentityError, match="another managed identity"):
        msal.ManagedIdentityClient(msal.UserAssignedManagedIdentity(object_id="5a5a5a5a-0000-4000-8000-0000000000f2"), client=own)


def test_weak_keys_are_errors_unless_they_are_allowed(emulated: Emulator) -> None:
    settings = {**emulated.client_settings, "simulated": False, "store": False}
    with pytest.raises(msal.MsiV2Error) as caught:
        bound(msal.ManagedIdentityClient(client=keybound.ManagedIdentityClient(**settings)), attested=False)
    assert caught.value.code in ("key_too_weak", "key_isolation_unavailable", "key_unavailable")
    software = keybound.KeyStrength.SOFTWARE
    allowed = msal.ManagedIdentityClient(client=keybound.ManagedIdentityClient(**settings), min_strength=software)
    result = bound(allowed, attested=False)
    assert result["token_type"] == "mtls_pop"
    assert result["binding_certificate"].key_strength != "simulated"


def test_functions_acquire_tokens_without_a_client(emulated: Emulator) -> None:
    # The arguments of the originals' scripts.
    result = msi_v2.obtain_token(http_client=None, managed_identity=None, resource=f"{GRAPH}/", attestation_enabled=True)
    assert result["token_type"] == "mtls_pop"
    assert result["binding_certificate"].attested
    again = msi_v2.obtain_token(None, msal.SystemAssignedManagedIdentity(), GRAPH)
    assert (again["access_token"], again["token_source"]) == (result["access_token"], "cache")
    unattested = msi_v2.obtain_token(None, None, GRAPH, attestation_enabled=False)
    assert not unattested["binding_certificate"].attested
    user = msi_v2.obtain_token(None, {"ManagedIdentityIdType": "ObjectId", "Id": "5a5a5a5a-0000-4000-8000-0000000000f2"}, GRAPH)
    assert claims(user["access_token"])["oid"] == "5a5a5a5a-0000-4000-8000-0000000000f2"
    assert emulated.counts()["token"] == 3


def test_attestation_is_that_of_the_core(emulated: Emulator) -> None:
    provider = create_attestation_provider()
    result = msi_v2.obtain_token(None, None, RESOURCE, attestation_token_provider=provider)
    assert result["binding_certificate"].attested
    with pytest.raises(msal.MsiV2Error, match="create_attestation_provider"):
        msi_v2.obtain_token(None, None, RESOURCE, attestation_token_provider=lambda *_: "jwt")
    # It is not called where no attestation is requested.
    msi_v2.obtain_token(None, None, RESOURCE, attestation_enabled=False, attestation_token_provider=lambda *_: "jwt")


def test_no_secret_is_logged(emulated: Emulator, msal_client: msal.ManagedIdentityClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="msal.msi_v2")
    caplog.set_level(logging.DEBUG, logger="keybound")
    result = bound(msal_client)
    emulated.inject("token=aadsts:500011*1")
    with pytest.raises(msal.MsiV2Error) as caught:
        bound(msal_client, resource=GRAPH)
    wait_for_records()
    assert [record.name for record in caplog.records].count("msal.msi_v2") == 2
    signature = result["access_token"].rpartition(".")[2]
    error, cause = caught.value, caught.value.__cause__
    shown = [caplog.text, repr(error), repr(cause), repr(error.__dict__), repr(result["binding_certificate"])]
    assert not any(signature in text for text in shown)
