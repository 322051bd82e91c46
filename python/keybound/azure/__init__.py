"""Bound tokens for clients of the Azure SDK.

    calls = keybound.BoundCalls(keybound.ManagedIdentityClient())
    secrets = SecretClient(
        "https://my-vault.vault.azure.net", keybound.azure.credential(calls), transport=keybound.azure.transport(calls)
    )

The SDK never has a token: the credential returns a placeholder, which the transport of the same calls replaces.
`keybound.azure.aio` is the same for asynchronous clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceResponseError
from azure.core.pipeline.transport import RequestsTransport

from keybound._arguments import check
from keybound._calls import BoundCalls
from keybound._client import ManagedIdentityClient
from keybound._errors import KeyboundError, with_causes
from keybound._identity import KeyStrength
from keybound.azure._tokens import PROBE_TIMEOUT, CredentialBase, credential_error, single_scope, token_info
from keybound.requests import BoundAdapter

if TYPE_CHECKING:
    from azure.core.credentials import TokenRequestOptions
    from azure.core.pipeline.transport import HttpTransport
    from typing_extensions import Self


__all__ = ["BearerCredential", "BoundCredential", "credential", "transport"]


def credential(calls: BoundCalls, *, probe_timeout: float = PROBE_TIMEOUT) -> BoundCredential:
    """A credential for clients whose transport is that of the same calls."""
    return BoundCredential(calls, probe_timeout=probe_timeout)


def transport(calls: BoundCalls) -> HttpTransport[Any, Any]:
    """A transport for clients whose credential is that of the same calls. Tokens of other credentials are errors, and nothing is
    sent.

    Retries are those of the SDK, which repeats a request that may have been sent only if its method is idempotent. The timeout of a
    request is that of the calls, unless the operation has ``connection_timeout`` or ``read_timeout``: then it is the longer one.
    """
    return _BoundTransport(calls)


class _Credential(CredentialBase):
    def _probe(self) -> None:
        probe = self._new_probe()
        if probe is not None:
            with self._probing():
                probe.wait()


class BearerCredential(_Credential):
    """A credential with bearer tokens that are acquired over mutual TLS, for services that accept no bound tokens; with any
    transport. Anyone who has such a token can use it.
    """

    def __init__(
        self,
        client: ManagedIdentityClient,
        *,
        attested: bool = True,
        min_strength: KeyStrength = KeyStrength.KEYGUARD,
        timeout: float = 60.0,
        probe_timeout: float = PROBE_TIMEOUT,
    ) -> None:
        """Creates the credential; nothing is requested yet.

        Args:
            client: acquires the tokens.
            attested: whether the key must be attested.
            min_strength: the minimum strength of the key.
            timeout: of acquiring a token, in seconds.
            probe_timeout: of the first request to IMDS, in seconds: the credential is unavailable if there is no response.

        """
        check("client", client, ManagedIdentityClient, "a keybound.ManagedIdentityClient")
        super().__init__(client, min(timeout, probe_timeout))
        self._client = client
        self._attested = attested
        self._min_strength = min_strength
        self._timeout = timeout

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """Acquires a token for one scope. The claims of the options are passed on, other options are ignored.

        Raises:
            ClientAuthenticationError: as that of `BoundCredential`.

        """
        scope, claims = single_scope(scopes), (options or {}).get("claims")
        try:
            self._probe()
            token = self._client.acquire_token(
                scope,
                attested=self._attested,
                min_strength=self._min_strength,
                bearer_over_mtls=True,
                claims=claims,
                timeout=self._timeout,
            )
        except KeyboundError as error:
            raise credential_error(error) from error
        return token_info(token)

    def get_token(self, *scopes: str, claims: str | None = None, **_options: Any) -> AccessToken:
        """As `get_token_info`, for clients that call this method."""
        info = self.get_token_info(*scopes, options={"claims": claims} if claims else None)
        return AccessToken(info.token, info.expires_on)

    def close(self) -> None:
        """Does nothing: the client remains usable."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class BoundCredential(_Credential):
    """A credential whose tokens are placeholders, for clients whose transport is that of the same calls.

    It acquires the token, so that a failure is an error of the credential. With another transport the service rejects the requests,
    and no token is disclosed.
    """

    def __init__(self, calls: BoundCalls, *, probe_timeout: float = PROBE_TIMEOUT) -> None:
        """Creates the credential; nothing is requested yet.

        Args:
            calls: acquire the tokens.
            probe_timeout: as in `BearerCredential`.

        """
        check("calls", calls, BoundCalls, "a keybound.BoundCalls")
        super().__init__(calls._client, min(calls._timeout, probe_timeout))
        self._calls = calls

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:  # noqa: ARG002
        """Acquires the token of one scope, and returns its placeholder. The options are ignored: the transport answers challenges
        with claims.

        Raises:
            ClientAuthenticationError: with the `keybound.KeyboundError` as its cause. It is an
                `azure.identity.CredentialUnavailableError` if this host has no IMDS v2 or IMDS does not respond, so that a chain
                tries its next credential.

        """
        scope = single_scope(scopes)
        try:
            self._probe()
            token = self._calls.acquire_token(scope)
        except KeyboundError as error:
            raise credential_error(error) from error
        return token_info(token, self._calls.placeholder(scope))

    def get_token(self, *scopes: str, claims: str | None = None, **_options: Any) -> AccessToken:  # noqa: ARG002
        """As `get_token_info`, for clients that call this method."""
        info = self.get_token_info(*scopes)
        return AccessToken(info.token, info.expires_on)

    def close(self) -> None:
        """Does nothing: the calls remain usable."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


# The SDK exports it lazily.
class _BoundTransport(RequestsTransport):  # type: ignore[misc]
    def __init__(self, calls: BoundCalls) -> None:
        session = requests.Session()
        session.trust_env = False
        session.adapters.clear()
        session.mount("https://", BoundAdapter(calls))
        super().__init__(session=session, session_owner=True, connection_timeout=None, read_timeout=None)

    def send(self, request: Any, *, proxies: Any = None, **kwargs: Any) -> Any:
        limits = [kwargs[name] for name in ("connection_timeout", "read_timeout") if kwargs.get(name) is not None]
        kwargs["connection_timeout"] = kwargs["read_timeout"] = max(limits, default=None)
        try:
            return super().send(request, proxies=proxies, **kwargs)
        except KeyboundError as error:
            raise ClientAuthenticationError(with_causes(error), error=error) from error
        except HttpResponseError as error:
            # Of a body that broke while it was read. There is no response to raise it for, and the request was sent.
            raise ServiceResponseError(error.message, error=error) from error
