from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from conftest import RESOURCE

import keybound
from keybound import KeyStrength, ManagedIdentity, ManagedIdentityClient, aio

if TYPE_CHECKING:
    from keybound.emulator import Emulator


def test_tokens_are_bound_to_the_certificate(client: ManagedIdentityClient) -> None:
    token = client.acquire_token(RESOURCE)
    assert token.token_type == "mtls_pop"
    assert token.source == "identity_provider"
    assert token.scope == "https://vault.azure.net/.default"
    assert 0 < token.expires_in <= 86400
    assert token.authorization == f"mtls_pop {token.token}"
    assert token.managed_identity_source == "imds"
    assert token.refresh_failure is None
    assert set(token.timings) >= {"metadata", "key", "csr", "attestation", "credential", "token", "binding_check"}
    certificate = token.certificate
    assert certificate is not None
    assert token.unverified_claims()["cnf"] == {"x5t#S256": certificate.x5t_s256}
    assert keybound.verify_binding(token.token, certificate.public_certificate_pem)
    assert keybound.verify_binding(token.token, certificate.public_certificate_der)


@pytest.mark.parametrize("identity", ["my-client-id", {"ManagedIdentityIdType": "SystemAssigned"}, ""])
def test_identities_of_other_types_are_errors(identity: Any) -> None:
    with pytest.raises(TypeError, match=r"ManagedIdentity\.client_id"):
        ManagedIdentityClient(identity)


def test_certificates_have_their_facts(warm_client: ManagedIdentityClient) -> None:
    certificate = warm_client.acquire_token(RESOURCE).certificate
    assert certificate is not None
    assert certificate.simulated
    assert certificate.attested
    assert certificate.key_strength == "simulated"
    assert certificate.not_before < certificate.not_after
    assert certificate.not_after.utcoffset() is not None
    assert len(certificate.client_id) == len(certificate.tenant_id) == 36
    assert certificate.client_id in certificate.subject
    assert certificate.issuer
    assert keybound.thumbprint(certificate.public_certificate_der) == certificate.x5t_s256
    assert certificate.thumbprint_sha1 == certificate.thumbprint_sha1.upper()
    assert len(certificate.thumbprint_sha1) == 40
    assert len(certificate.thumbprint_sha256) == 64
    assert certificate["thumbprint_sha256"] == certificate.x5t_s256
    assert len(certificate["x5c"]) == 1
    with pytest.raises(KeyError):
        certificate["other"]  # type: ignore[index]
    assert certificate.to_metadata_dict() == {
        "store_path": "",
        "thumbprint_sha1": certificate.thumbprint_sha1,
        "thumbprint_sha256": certificate.thumbprint_sha256,
        "x5t#S256": certificate.x5t_s256,
        "has_private_key": True,
        "key_name": None,
    }
    with certificate:
        assert certificate.has_private_key
    assert not certificate.has_private_key
    certificate.close()


def test_tokens_are_cached(emulator: Emulator, client: ManagedIdentityClient) -> None:
    first = client.acquire_token(RESOURCE)
    second = client.acquire_token(RESOURCE)
    assert (first.source, second.source) == ("identity_provider", "cache")
    assert first.token == second.token
    assert second.timings == {}
    assert emulator.counts()["token"] == 1
    third = client.acquire_token(RESOURCE, force_refresh=True)
    assert third.source == "identity_provider"
    assert emulator.counts()["token"] == 2
    assert emulator.counts()["issue"] == 1


def test_each_requirement_has_its_token(emulator: Emulator, client: ManagedIdentityClient) -> None:
    attested = client.acquire_token(RESOURCE)
    unattested = client.acquire_token(RESOURCE, attested=False)
    assert attested.certificate is not None
    assert attested.certificate.attested
    assert unattested.certificate is not None
    assert not unattested.certificate.attested
    assert emulator.counts()["issue"] == 2


def test_claims_bring_a_new_certificate(emulator: Emulator, client: ManagedIdentityClient) -> None:
    client.acquire_token(RESOURCE)
    claims = '{"access_token":{"nbf":{"essential":true,"value":"1"}}}'
    assert client.acquire_token(RESOURCE, claims=claims).source == "identity_provider"
    assert emulator.counts()["issue"] == 2
    with pytest.raises(keybound.InvalidRequest):
        client.acquire_token(RESOURCE, claims="{")


def test_bearer_tokens_are_requested_explicitly(emulator: Emulator, client: ManagedIdentityClient) -> None:
    token = client.bearer_token(RESOURCE)
    assert (token.token_type, token.certificate) == ("Bearer", None)
    assert client.bearer_token(RESOURCE).source == "cache"
    assert set(emulator.counts()) == {"imds-token"}
    over_mtls = client.acquire_token(RESOURCE, bearer_over_mtls=True)
    assert (over_mtls.token_type, over_mtls.certificate) == ("Bearer", None)
    assert emulator.counts()["token"] == 1
    assert "cnf" not in over_mtls.unverified_claims()


def test_weaker_keys_are_errors(emulator: Emulator) -> None:
    # Without simulated keys, this host has keys in memory only.
    client = ManagedIdentityClient(imds_endpoint=emulator.imds, loopback_ca_pem=emulator.ca_pem, simulated=False)
    with pytest.raises(keybound.KeyUnavailable) as caught:
        client.acquire_token(RESOURCE)
    assert caught.value.code == "key_too_weak"
    assert "issue" not in emulator.counts()
    token = client.acquire_token(RESOURCE, attested=False, min_strength=KeyStrength.SOFTWARE)
    assert token.certificate is not None
    assert token.certificate.key_strength == "software"
    assert not token.certificate.attested


def test_the_probe(emulator: Emulator, client: ManagedIdentityClient) -> None:
    assert client.supports_imds_v2() is True
    assert emulator.counts() == {"probe": 1}
    emulator.inject("probe=status:404")
    assert client.supports_imds_v2() is False


def test_capabilities(emulator: Emulator, client: ManagedIdentityClient, monkeypatch: pytest.MonkeyPatch) -> None:
    found = client.capabilities()
    assert (found.source, found.source_reason, found.source_variables) == ("imds", "imds_endpoint", [])
    assert (found.imds_v1, found.imds_v2, found.imds_error, found.imds_v2_disabled) == (True, True, None, False)
    assert (found.strongest_key, found.strongest_binding) == (KeyStrength.KEYGUARD, KeyStrength.KEYGUARD)
    assert (found.simulated_key, found.why_not_stronger) == (True, None)
    assert (found.attestation, found.attestation_library, found.attestation_error) == ("simulated", None, None)
    assert (found.operating_system, found.security_error) == ("windows", None)
    assert (found.security_type, found.secure_boot, found.virtual_tpm) == ("TrustedLaunch", True, True)
    assert "strongest_binding=keyguard" in repr(found)
    assert not {"key", "issue", "token"} & set(emulator.counts())
    # Without simulated keys, this host has keys in memory only.
    real = ManagedIdentityClient(imds_endpoint=emulator.imds, simulated=False).capabilities()
    assert real.strongest_binding in (KeyStrength.SOFTWARE, KeyStrength.HARDWARE)
    assert isinstance(real.why_not_stronger, keybound.KeyboundError)
    assert real.why_not_stronger.next_step
    for name, value in emulator.environment("app-service").items():
        monkeypatch.setenv(name, value)
    other = ManagedIdentityClient().capabilities()
    assert (other.source, other.source_reason, other.strongest_binding) == ("app_service", "variables", None)
    assert other.source_variables
    assert isinstance(other.why_not_stronger, keybound.ImdsV2Unavailable)
    assert (other.imds_v1, other.imds_v2) == (None, None)


async def test_capabilities_wait_for_imds_no_longer_than_asked(emulator: Emulator) -> None:
    emulator.inject("probe=hang*always")
    found = ManagedIdentityClient(**emulator.client_settings).capabilities(timeout=0.1)
    asynchronous = await aio.ManagedIdentityClient(**emulator.client_settings).capabilities(timeout=0.1)
    for answer in (found, asynchronous):
        assert (answer.imds_v2, answer.strongest_binding) == (None, None)
        assert isinstance(answer.imds_error, keybound.DeadlineReached)
    with pytest.raises(TypeError, match="timeout is a number of seconds, not str"):
        ManagedIdentityClient(**emulator.client_settings).capabilities(timeout="1")  # type: ignore[arg-type]


@pytest.mark.parametrize("leg", ["token=delay:300*1", "token=status:400*1"])
def test_threads_share_one_request(emulator: Emulator, client: ManagedIdentityClient, leg: str) -> None:
    emulator.inject("metadata=delay:500*1", leg)
    start = threading.Barrier(64)

    def call(_: int) -> object:
        start.wait()
        try:
            return client.acquire_token(RESOURCE).token
        except keybound.ServiceRefused as error:
            return error.status

    with ThreadPoolExecutor(64) as threads:
        results = set(threads.map(call, range(64)))
    assert len(results) == 1
    assert emulator.counts()["token"] == 1
    assert emulator.counts()["issue"] == 1


def test_requests_are_checked(client: ManagedIdentityClient) -> None:
    with pytest.raises(keybound.InvalidRequest):
        client.acquire_token(RESOURCE, min_strength="moon")  # type: ignore[arg-type]
    with pytest.raises(keybound.InvalidRequest):
        client.resource("no resource")
    with pytest.raises(TypeError):
        client.acquire_token(7)  # type: ignore[arg-type]


def test_the_timeout_ends_a_call(emulator: Emulator, client: ManagedIdentityClient) -> None:
    emulator.inject("metadata=hang*1")
    with pytest.raises(keybound.DeadlineReached) as caught:
        client.acquire_token(RESOURCE, timeout=0.2)
    assert caught.value.deadline_reached
    assert issubclass(keybound.DeadlineReached, TimeoutError)
    for timeout in (-1.0, float("nan")):
        with pytest.raises(keybound.InvalidRequest):
            client.acquire_token("https://other.example", timeout=timeout)


def test_identities_are_checked() -> None:
    guid = "11111111-2222-3333-4444-555555555555"
    identity = ManagedIdentity.client_id(guid.upper())
    assert identity == ManagedIdentity.client_id(guid)
    assert hash(identity) == hash(ManagedIdentity.client_id(guid))
    assert identity != ManagedIdentity.object_id(guid)
    assert ManagedIdentity.system_assigned().id is None
    assert repr(ManagedIdentity.resource_id("/subscriptions/x")) == "ManagedIdentity.resource_id('/subscriptions/x')"
    for make in (ManagedIdentity.client_id, ManagedIdentity.object_id, ManagedIdentity.resource_id):
        with pytest.raises(keybound.InvalidRequest):
            make("no id")
    with pytest.raises(TypeError):
        ManagedIdentity()


def test_user_assigned_identities(emulator: Emulator) -> None:
    identity = ManagedIdentity.client_id("99999999-2222-3333-4444-555555555555")
    client = ManagedIdentityClient(identity, **emulator.client_settings)
    with pytest.raises(keybound.ServiceRefused) as caught:
        client.acquire_token(RESOURCE)
    assert caught.value.code == "identity_not_found"
    assert client.identity == identity


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("identity", "x", "identity is a ManagedIdentity, such as ManagedIdentity.client_id(…), not str"),
        ("imds_endpoint", 5, "imds_endpoint is a str, not int"),
        ("managed_identity_source", 5, "managed_identity_source is a str, not int"),
        ("ca_pem", "x", "ca_pem is bytes: open the file with 'rb', not str"),
        ("loopback_ca_pem", "x", "loopback_ca_pem is bytes: open the file with 'rb', not str"),
        ("allowed_hosts", "x", "allowed_hosts is a list of str, not str"),
        ("allowed_hosts", [5], "a member of allowed_hosts is a str, not int"),
        ("client_capabilities", "cp1", "client_capabilities is a list of str, not str"),
        ("client_capabilities", None, "client_capabilities is a list of str, not NoneType"),
        ("proxy", 5, "proxy is a str, not int"),
        ("no_proxy", ["x"], "no_proxy is a str, such as 'localhost,.internal', not list"),
        ("tls_versions", [("x", "1.2")], "tls_versions is a mapping from host names to versions, not list"),
        ("retries", "no", "retries is a bool, not str"),
        ("store", 1, "store is a bool, not int"),
        ("simulated", "no", "simulated is a bool, not str"),
    ],
)
def test_settings_of_another_type(argument: str, value: object, message: str) -> None:
    for kind in (ManagedIdentityClient, aio.ManagedIdentityClient):
        with pytest.raises(TypeError) as caught:
            kind(**{argument: value})  # type: ignore[arg-type]
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("resource", None, "resource is a str, such as 'https://vault.azure.net', not NoneType"),
        ("attested", "no", "attested is a bool, not str"),
        ("min_strength", None, "min_strength is a KeyStrength, such as KeyStrength.KEYGUARD, not NoneType"),
        ("claims", {"a": 1}, "claims is a str with a JSON object, or None, not dict"),
        ("force_refresh", 1, "force_refresh is a bool, not int"),
        ("timeout", "5", "timeout is a number of seconds, not str"),
        ("timeout", None, "timeout is a number of seconds, not NoneType"),
    ],
)
def test_arguments_of_another_type(client: ManagedIdentityClient, argument: str, value: object, message: str) -> None:
    arguments: dict[str, Any] = {"resource": RESOURCE, argument: value}
    for over_mtls in (False, True):
        with pytest.raises(TypeError) as caught:
            client.acquire_token(bearer_over_mtls=over_mtls, **arguments)
        assert str(caught.value) == message
    if argument in ("resource", "timeout"):
        for call in (client.bearer_token, client.resource, client.bearer_resource):
            with pytest.raises(TypeError) as caught:
                call(**arguments)
            assert str(caught.value) == message


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("imds_endpoint", "ftp://x"),
        ("managed_identity_source", "moon"),
        ("ca_pem", b"no certificate"),
        ("proxy", "socks5://x"),
        ("no_proxy", "x"),
        ("tls_versions", {"host": "1.1"}),
    ],
)
def test_settings_are_checked(argument: str, value: object) -> None:
    with pytest.raises(keybound.InvalidRequest):
        ManagedIdentityClient(**{argument: value})  # type: ignore[arg-type]


def test_sources(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in emulator.environment("app-service").items():
        monkeypatch.setenv(name, value)
    client = ManagedIdentityClient()
    assert client.managed_identity_source == "app_service"
    assert client.bearer_token(RESOURCE).managed_identity_source == "app_service"
    assert ManagedIdentityClient(managed_identity_source="imds").managed_identity_source == "imds"


def test_the_environment_of_an_emulator_simulates_keys(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in emulator.environment().items():
        monkeypatch.setenv(name, value)
    token = ManagedIdentityClient().acquire_token(RESOURCE)
    assert token.certificate is not None
    assert token.certificate.simulated
    monkeypatch.delenv("KEYBOUND_EMULATOR_VAULT")
    with pytest.raises(keybound.KeyUnavailable):
        ManagedIdentityClient().acquire_token(RESOURCE)


def test_no_trust_from_other_variables(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, emulator.ca_file)
    client = ManagedIdentityClient(imds_endpoint=emulator.imds)
    with pytest.raises(keybound.TlsFailed) as caught:
        client.acquire_token(RESOURCE, attested=False, min_strength=KeyStrength.SOFTWARE)
    assert caught.value.code == "server_certificate_invalid"
