"""Which function of `keybound.msal` is called for which arguments; bearer tokens; identities; names of the installed msal."""

from __future__ import annotations

import contextlib
import importlib
import json
import pickle
import sys
import time
from typing import TYPE_CHECKING, Any, Callable
from unittest.mock import Mock

import pytest
from conftest import RESOURCE

import keybound
import keybound.msal as msal
from keybound.msal import managed_identity

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from keybound.emulator import Emulator

BEARER = {"access_token": "v1", "expires_in": 3600, "token_type": "Bearer"}
BOUND = {"access_token": "v2", "expires_in": 3600, "token_type": "mtls_pop"}
USER_CLIENT_ID = "5a5a5a5a-0000-4000-8000-000000000002"


@pytest.fixture
def msal_client() -> msal.ManagedIdentityClient:
    return msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity(), http_client=object())


@pytest.fixture
def obtain_bearer(monkeypatch: pytest.MonkeyPatch) -> Mock:
    mock = Mock(side_effect=lambda *_: dict(BEARER))
    monkeypatch.setattr("keybound.msal.managed_identity._obtain_token", mock)
    return mock


@pytest.fixture
def obtain_bound(monkeypatch: pytest.MonkeyPatch) -> Mock:
    mock = Mock(side_effect=lambda *_, **__: dict(BOUND))
    monkeypatch.setattr("keybound.msal.msi_v2.obtain_token", mock)
    return mock


def test_bearer_tokens_are_the_default(msal_client: msal.ManagedIdentityClient, obtain_bearer: Mock, obtain_bound: Mock) -> None:
    result = msal_client.acquire_token_for_client(resource="R")
    assert result == {**BEARER, "token_source": "identity_provider"}
    assert (obtain_bearer.call_count, obtain_bound.call_count) == (1, 0)


@pytest.mark.parametrize("attested", [True, False])
def test_bound_tokens_are_requested_by_the_replaceable_function(
    msal_client: msal.ManagedIdentityClient, obtain_bearer: Mock, obtain_bound: Mock, attested: bool
) -> None:
    result = msal_client.acquire_token_for_client(
        resource=RESOURCE, mtls_proof_of_possession=True, with_attestation_support=attested
    )
    assert result == {**BOUND, "token_source": "identity_provider"}
    obtain_bound.assert_called_once()
    http_client, identity, resource = obtain_bound.call_args.args
    assert type(http_client) is object
    assert identity == {"ManagedIdentityIdType": "SystemAssigned", "Id": None}
    assert resource == RESOURCE
    assert obtain_bound.call_args.kwargs["attestation_enabled"] is attested
    obtain_bearer.assert_not_called()


def test_attestation_alone_calls_nothing(msal_client: msal.ManagedIdentityClient, obtain_bearer: Mock, obtain_bound: Mock) -> None:
    with pytest.raises(msal.ManagedIdentityError, match="attestation_requires_pop"):
        msal_client.acquire_token_for_client(resource="R", with_attestation_support=True)
    assert (obtain_bearer.call_count, obtain_bound.call_count) == (0, 0)


@pytest.mark.parametrize(
    ("failure", "message", "code"),
    [
        (msal.MsiV2Error("boom"), "boom", "invalid_request"),
        (RuntimeError("DLL load failed"), "[msi_v2] Unexpected failure: DLL load failed", "unexpected_failure"),
        (keybound.KeyUnavailable("no key", code="key_unavailable"), "[msi_v2] no key", "key_unavailable"),
    ],
)
def test_failures_of_bound_tokens_are_one_class(
    msal_client: msal.ManagedIdentityClient, obtain_bearer: Mock, obtain_bound: Mock, failure: Exception, message: str, code: str
) -> None:
    obtain_bound.side_effect = failure
    with pytest.raises(msal.MsiV2Error) as caught:
        msal_client.acquire_token_for_client(resource="R", mtls_proof_of_possession=True, with_attestation_support=True)
    assert (str(caught.value), caught.value.code) == (message, code)
    assert failure in (caught.value, caught.value.__cause__)
    obtain_bearer.assert_not_called()


def test_interrupts_are_not_converted(msal_client: msal.ManagedIdentityClient, obtain_bound: Mock) -> None:
    obtain_bound.side_effect = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        msal_client.acquire_token_for_client(resource="R", mtls_proof_of_possession=True)


def test_errors_are_values_of_the_package() -> None:
    assert msal.MsiV2Error is managed_identity.MsiV2Error
    assert issubclass(msal.MsiV2Error, msal.ManagedIdentityError)
    assert issubclass(msal.ManagedIdentityError, ValueError)
    copy = pickle.loads(pickle.dumps(msal.MsiV2Error("boom", code="unreachable")))
    assert (type(copy), str(copy), copy.code, copy.retryable) == (msal.MsiV2Error, "boom", "unreachable", False)


class TestBearerTokens:
    @pytest.fixture
    def msal_client(self, emulated: Emulator) -> msal.ManagedIdentityClient:
        return msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity())

    def test_come_from_the_source_and_its_cache(self, emulated: Emulator, msal_client: msal.ManagedIdentityClient) -> None:
        first = msal_client.acquire_token_for_client(resource=RESOURCE)
        assert (first["token_type"], first["token_source"], first["resource"]) == ("Bearer", "identity_provider", RESOURCE)
        assert first["refresh_in"] == pytest.approx(first["expires_in"] / 2, abs=2)
        assert isinstance(first["refresh_on"], int)
        second = msal_client.acquire_token_for_client(resource=RESOURCE)
        assert (second["access_token"], second["token_source"]) == (first["access_token"], "cache")
        third = msal_client.acquire_token_for_client(resource=RESOURCE, claims_challenge="{}")
        assert third["access_token"] != first["access_token"]
        assert emulated.counts() == {"imds-token": 2}

    def test_refusals_are_results(self, emulated: Emulator, msal_client: msal.ManagedIdentityClient) -> None:
        unknown = msal.UserAssignedManagedIdentity(client_id="5a5a5a5a-0000-4000-8000-0000000000ff")
        result = msal.ManagedIdentityClient(unknown).acquire_token_for_client(resource=RESOURCE)
        assert set(result) == {"error", "error_description"}
        assert result["error"] == "invalid_request"
        assert "Identity not found" in result["error_description"]

    def test_no_source_is_an_exception(self) -> None:
        own = keybound.ManagedIdentityClient(imds_endpoint="http://127.0.0.1:1", retries=False)
        with pytest.raises(ConnectionError):
            msal.ManagedIdentityClient(client=own).acquire_token_for_client(resource=RESOURCE)

    def test_messages_of_errors_have_their_causes(self) -> None:
        own = keybound.ManagedIdentityClient(imds_endpoint="http://127.0.0.1:1", retries=False)
        client = msal.ManagedIdentityClient(client=own)
        with pytest.raises(msal.MsiV2Error, match=r"^\[msi_v2\] .*127\.0\.0\.1:1"):
            client.acquire_token_for_client(resource=RESOURCE, mtls_proof_of_possession=True)

    def test_malformed_ids_are_errors_of_the_call(self, emulated: Emulator) -> None:
        client = msal.ManagedIdentityClient(msal.UserAssignedManagedIdentity(client_id="foo"))
        with pytest.raises(msal.ManagedIdentityError, match="GUID"):
            client.acquire_token_for_client(resource=RESOURCE)
        with pytest.raises(msal.MsiV2Error, match="GUID"):
            client.acquire_token_for_client(resource=RESOURCE, mtls_proof_of_possession=True)

    def test_are_shared_by_a_token_cache(self, emulated: Emulator) -> None:
        installed = pytest.importorskip("msal")
        cache = installed.TokenCache()
        clients = [msal.ManagedIdentityClient(token_cache=cache) for _ in range(2)]
        first, second = (client.acquire_token_for_client(resource=RESOURCE) for client in clients)
        assert (first["token_source"], second["token_source"]) == ("identity_provider", "cache")
        assert second["access_token"] == first["access_token"]
        assert second["token_type"] == "Bearer"
        # The original finds it as well.
        of_original = installed.ManagedIdentityClient({**msal.SystemAssignedManagedIdentity()}, http_client=None, token_cache=cache)
        assert of_original.acquire_token_for_client(resource=RESOURCE)["access_token"] == first["access_token"]
        # A challenge, another resource and another identity need their own.
        assert clients[1].acquire_token_for_client(resource=RESOURCE, claims_challenge="{}")["token_source"] == "identity_provider"
        assert clients[1].acquire_token_for_client(resource="https://graph.microsoft.com")["token_source"] == "identity_provider"
        other = msal.ManagedIdentityClient(msal.UserAssignedManagedIdentity(client_id=USER_CLIENT_ID), token_cache=cache)
        assert other.acquire_token_for_client(resource=RESOURCE)["access_token"] != first["access_token"]

    @pytest.mark.parametrize("fault", ["status:500", "status:403", "close"])
    def test_are_used_until_they_expire_if_their_refresh_fails(self, emulated: Emulator, fault: str) -> None:
        installed = pytest.importorskip("msal")
        cache = installed.TokenCache()
        first = msal.ManagedIdentityClient(token_cache=cache).acquire_token_for_client(resource=RESOURCE)
        [entry] = cache.search("AccessToken", target=[RESOURCE], query={})
        cache.modify("AccessToken", entry, {"refresh_on": str(int(time.time()) - 1)})
        client = msal.ManagedIdentityClient(token_cache=cache, client=keybound.ManagedIdentityClient(retries=False))
        emulated.inject(f"imds-token={fault}")
        kept = client.acquire_token_for_client(resource=RESOURCE)
        assert (kept["access_token"], kept["token_source"]) == (first["access_token"], "cache")
        assert emulated.counts()["imds-token"] == 2
        # A challenge says that the resource rejects it, and another one has no token at all.
        others: tuple[dict[str, Any], ...] = (
            {"resource": RESOURCE, "claims_challenge": "{}"},
            {"resource": "https://graph.microsoft.com"},
        )
        for other in others:
            with contextlib.suppress(keybound.KeyboundError):
                assert "access_token" not in client.acquire_token_for_client(**other)
        emulated.reset()
        assert client.acquire_token_for_client(resource=RESOURCE)["access_token"] != first["access_token"]

    def test_are_not_used_in_their_last_minutes(self, emulated: Emulator) -> None:
        installed = pytest.importorskip("msal")
        cache = installed.TokenCache()
        msal.ManagedIdentityClient(token_cache=cache).acquire_token_for_client(resource=RESOURCE)
        [entry] = cache.search("AccessToken", target=[RESOURCE], query={})
        cache.modify("AccessToken", entry, {"expires_on": str(int(time.time()) + 290)})
        emulated.inject("imds-token=status:403")
        result = msal.ManagedIdentityClient(token_cache=cache).acquire_token_for_client(resource=RESOURCE)
        assert "access_token" not in result

    def test_are_the_only_tokens_of_a_token_cache(self, emulated: Emulator) -> None:
        cache = Mock()
        client = msal.ManagedIdentityClient(token_cache=cache)
        client.acquire_token_for_client(resource=RESOURCE, mtls_proof_of_possession=True, with_attestation_support=True)
        assert cache.mock_calls == []


class TestIdentities:
    @pytest.mark.parametrize(
        ("identity", "expected"),
        [
            (msal.SystemAssignedManagedIdentity(), {"ManagedIdentityIdType": "SystemAssigned", "Id": None}),
            (msal.UserAssignedManagedIdentity(client_id="c"), {"ManagedIdentityIdType": "ClientId", "Id": "c"}),
            (msal.UserAssignedManagedIdentity(object_id="o"), {"ManagedIdentityIdType": "ObjectId", "Id": "o"}),
            (msal.UserAssignedManagedIdentity(resource_id="/r"), {"ManagedIdentityIdType": "ResourceId", "Id": "/r"}),
        ],
    )
    def test_equal_their_json(self, identity: msal.ManagedIdentity, expected: dict[str, Any]) -> None:
        assert identity == expected
        assert json.loads(json.dumps(dict(identity))) == expected
        assert msal.ManagedIdentity.is_managed_identity(expected)
        msal.ManagedIdentityClient(expected)

    @pytest.mark.parametrize("ids", [{}, {"client_id": "c", "object_id": "o"}, {"client_id": ""}])
    def test_have_exactly_one_id(self, ids: dict[str, str]) -> None:
        with pytest.raises(msal.ManagedIdentityError, match="You shall specify one of the three parameters"):
            msal.UserAssignedManagedIdentity(**ids)

    @pytest.mark.parametrize(
        "incorrect",
        [
            {},
            "SystemAssigned",
            {"ManagedIdentityIdType": "Other", "Id": "x"},
            {"ManagedIdentityIdType": "ClientId", "Id": None},
            {"ManagedIdentityIdType": ["ClientId"], "Id": "x"},
        ],
    )
    def test_have_known_members(self, incorrect: Any) -> None:
        with pytest.raises(msal.ManagedIdentityError, match="Incorrect managed_identity"):
            msal.ManagedIdentityClient(incorrect)

    def test_need_no_empty_id(self, emulated: Emulator) -> None:
        installed = pytest.importorskip("msal")
        identity = {"ManagedIdentityIdType": "SystemAssigned"}
        client = msal.ManagedIdentityClient(identity, token_cache=installed.TokenCache())
        assert client.acquire_token_for_client(resource=RESOURCE)["token_type"] == "Bearer"
        assert msal.msi_v2.obtain_token(None, identity, RESOURCE)["token_type"] == "mtls_pop"

    def test_select_the_identity(self, emulated: Emulator) -> None:
        for identity in ({"client_id": USER_CLIENT_ID}, {"object_id": "5a5a5a5a-0000-4000-8000-0000000000f2"}):
            client = msal.ManagedIdentityClient(msal.UserAssignedManagedIdentity(**identity))
            result = client.acquire_token_for_client(
                resource=RESOURCE, mtls_proof_of_possession=True, with_attestation_support=True
            )
            assert result["binding_certificate"].client_id == USER_CLIENT_ID


def test_capabilities_are_a_list() -> None:
    with pytest.raises(msal.ManagedIdentityError, match=r"client_capabilities is a list, such as \['CP1'\]"):
        msal.ManagedIdentityClient(client_capabilities="CP1")


def test_other_names_are_those_of_the_installed_msal(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = pytest.importorskip("msal")
    assert msal.TokenCache is installed.TokenCache
    assert msal.__version__ == installed.__version__
    assert managed_identity.APP_SERVICE is installed.managed_identity.APP_SERVICE
    with pytest.raises(AttributeError):
        _ = msal.no_such_name
    with pytest.raises(AttributeError):
        _ = msal._no_private_name
    monkeypatch.setitem(sys.modules, "msal", None)
    with pytest.raises(AttributeError, match="pip install msal"):
        _ = msal.TokenCache


def test_submodules_are_those_of_the_installed_msal() -> None:
    installed = pytest.importorskip("msal.token_cache")
    for name in ("token_cache", "exceptions", "application", "oauth2cli", "oauth2cli.oidc"):
        found = importlib.import_module(f"keybound.msal.{name}")
        assert found is importlib.import_module(f"msal.{name}")
        assert found.__spec__ is not None
        assert found.__spec__.name == f"msal.{name}"
    from keybound.msal import TokenCache, token_cache

    assert token_cache is installed
    assert TokenCache is installed.TokenCache
    for name in ("managed_identity", "msi_v2", "windows_certificate"):
        assert importlib.import_module(f"keybound.msal.{name}").__name__ == f"keybound.msal.{name}"
    for name in ("moon", "__main__", "token_cache.moon"):
        with pytest.raises(ModuleNotFoundError, match=name):
            importlib.import_module(f"keybound.msal.{name}")


def test_submodules_without_an_installed_msal(run: Callable[..., CompletedProcess[str]]) -> None:
    code = """
import sys
sys.modules["msal"] = None
import keybound.msal
try:
    import keybound.msal.token_cache
except ModuleNotFoundError as error:
    print(error)
"""
    assert run(code).stdout == "No module named 'keybound.msal.token_cache'\n"
