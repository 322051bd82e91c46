"""The client of ``msal.managed_identity``, and the identities."""

from __future__ import annotations

import keybound
from keybound import KeyStrength
from keybound._arguments import check_optional
from keybound.msal import msi_v2
from keybound.msal._errors import ManagedIdentityError, MsiV2Error, msi_v2_error
from keybound.msal._identities import (
    ManagedIdentity,
    SystemAssignedManagedIdentity,
    UserAssignedManagedIdentity,
    checked,
    from_keybound,
    to_keybound,
)
from keybound.msal._results import bearer_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from keybound.msal._identities import AnyManagedIdentity

__all__ = [
    "ManagedIdentity",
    "ManagedIdentityClient",
    "ManagedIdentityError",
    "MsiV2Error",
    "SystemAssignedManagedIdentity",
    "UserAssignedManagedIdentity",
]


class ManagedIdentityClient:
    """Acquires tokens for a managed identity of this host: bound tokens, or plain bearer tokens from its managed identity source.

    A client keeps its key, certificates and tokens in memory and refreshes them before they expire: create one and reuse it,
    from any number of threads.
    """

    def __init__(
        self,
        managed_identity: AnyManagedIdentity = None,
        *,
        http_client: object = None,
        token_cache: Any = None,
        http_cache: object = None,
        client_capabilities: Sequence[str] | None = None,
        min_strength: KeyStrength = KeyStrength.KEYGUARD,
        client: keybound.ManagedIdentityClient | None = None,
    ) -> None:
        """Creates a client. Nothing is requested yet.

        Args:
            managed_identity: the identity, or the mapping of its JSON; by default the system-assigned one.
            http_client: accepted for programs that pass one, and not used.
            token_cache: an ``msal.TokenCache`` in which bearer tokens are also stored. Bound tokens never are.
            http_cache: accepted for programs that pass one, and not used.
            client_capabilities: such as ``["CP1"]``, with which resources send claims challenges.
            min_strength: the minimum strength of the key of bound tokens.
            client: acquires the tokens, with its own settings such as proxy and trust, in place of a new one.

        Raises:
            ManagedIdentityError: if the identity or ``client_capabilities`` is malformed, or if the identity is not that of the
                client.

        """
        check_optional("client", client, keybound.ManagedIdentityClient, "a keybound.ManagedIdentityClient")
        self._managed_identity = _identity_of(client) if client and managed_identity is None else checked(managed_identity)
        self._http_client = http_client
        self._http_cache = http_cache
        self._token_cache = token_cache
        if isinstance(client_capabilities, str):
            raise ManagedIdentityError(f"client_capabilities is a list, such as [{client_capabilities!r}]")
        self._client_capabilities = tuple(client_capabilities or ())
        self._min_strength = KeyStrength(min_strength)
        self._client = client
        if client is not None and self._client_capabilities:
            raise ManagedIdentityError("client_capabilities are those of the client")
        if client is not None and self._managed_identity != _identity_of(client):
            raise ManagedIdentityError("the client is that of another managed identity")

    def acquire_token_for_client(
        self,
        *,
        resource: str,
        claims_challenge: str | None = None,
        mtls_proof_of_possession: bool = False,
        with_attestation_support: bool = False,
    ) -> dict[str, Any]:
        """Acquires a token, from the cache or from the service.

        Args:
            resource: such as ``https://vault.azure.net``.
            claims_challenge: the claims of a resource's challenge, JSON. A new token is requested, a bound one with a new
                certificate.
            mtls_proof_of_possession: whether the token is bound to the certificate of a key of this host.
            with_attestation_support: whether that key must be attested. Without it, the token is bound too, or there is an error.

        Returns:
            For a bound token the members that `keybound.msal.msi_v2.obtain_token` describes. For a bearer token
            ``access_token``, ``expires_in`` in seconds, ``token_type``, ``resource``, ``token_source``, and ``refresh_on`` and
            ``refresh_in`` if known; if the source rejects the request, ``error`` and ``error_description`` in place of a token.

        Raises:
            MsiV2Error: if there is no bound token. A bearer token is never returned instead.
            ManagedIdentityError: if ``with_attestation_support`` is set without ``mtls_proof_of_possession``.
            keybound.KeyboundError: if the source of bearer tokens does not respond.

        """
        if not mtls_proof_of_possession:
            if with_attestation_support:
                raise ManagedIdentityError(
                    "attestation_requires_pop: attestation is of the key of a bound token; set mtls_proof_of_possession=True too",
                    code="attestation_requires_pop",
                )
            return self._acquire_bearer(resource, claims_challenge)
        try:
            # Looked up here, as programs replace it in their tests.
            result = msi_v2.obtain_token(
                self._http_client,
                self._managed_identity,
                resource,
                attestation_enabled=with_attestation_support,
                claims_challenge=claims_challenge,
                min_strength=self._min_strength,
                client=self._client or self._new_client(),
            )
        except MsiV2Error:
            raise
        except keybound.KeyboundError as error:
            raise msi_v2_error(error) from error
        except Exception as error:
            raise MsiV2Error(f"[msi_v2] Unexpected failure: {error}", code="unexpected_failure") from error
        if "token_source" not in result and "error" not in result:
            result["token_source"] = "identity_provider"
        return result

    def _acquire_bearer(self, resource: str, claims: str | None) -> dict[str, Any]:
        if self._token_cache is None:
            return self._new_bearer(resource, claims)
        from keybound.msal._bearer_cache import BearerCache, HiddenResult

        cache = BearerCache(self._token_cache, self._managed_identity)
        stored = cache.find(resource) if claims is None else None
        if stored is not None and not stored.is_due():
            return stored.result()
        try:
            new = HiddenResult(self._new_bearer(resource, claims))
        except keybound.KeyboundError:
            if stored is None:
                raise
            return stored.result()
        if "access_token" in new.members:
            cache.add(resource, new)
        elif stored is not None:
            return stored.result()
        return new.members

    def _new_bearer(self, resource: str, claims: str | None) -> dict[str, Any]:
        try:
            result = _obtain_token(self._client or self._new_client(), resource, claims)
        except keybound.InvalidRequest as error:
            raise ManagedIdentityError(str(error), code=error.code) from error
        if "access_token" in result:
            result.setdefault("token_source", "identity_provider")
        return result

    def _new_client(self) -> keybound.ManagedIdentityClient:
        """Creates the client on the first call, so that a malformed id is an error of a call, as in msal."""
        new = keybound.ManagedIdentityClient(to_keybound(self._managed_identity), client_capabilities=self._client_capabilities)
        # Of several threads one sets it; all use that one.
        client: keybound.ManagedIdentityClient = self.__dict__.setdefault("_created", new)
        self._client = client
        return client


def _obtain_token(client: keybound.ManagedIdentityClient, resource: str, claims: str | None) -> dict[str, Any]:
    """A bearer token from the source of this host. That the source rejects the request is a result, as in msal."""
    try:
        return bearer_result(client.bearer_token(resource, claims=claims), resource)
    except keybound.ServiceRefused as error:
        return {"error": error.service.get("error", error.code), "error_description": str(error)}


def _identity_of(client: keybound.ManagedIdentityClient) -> ManagedIdentity:
    return from_keybound(client.identity)


def __getattr__(name: str) -> Any:
    from keybound.msal._installed import attribute

    return attribute("msal.managed_identity", name)
