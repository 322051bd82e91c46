from __future__ import annotations

from keybound import _native
from keybound._capabilities import Capabilities
from keybound._identity import KeyStrength
from keybound._resource import ResourceClient
from keybound._settings import ClientBase


class ManagedIdentityClient(ClientBase):
    """Acquires access tokens for a managed identity of this host.

    A client keeps its key, certificates and tokens in memory and refreshes them before they expire: create one and reuse it,
    from any number of threads. Concurrent calls for the same token share one request.

    After ``os.fork`` the child's first call creates a new key and certificate: those of the parent stay with the parent.
    """

    __slots__ = ()

    def acquire_token(
        self,
        resource: str,
        *,
        attested: bool = True,
        min_strength: KeyStrength = KeyStrength.KEYGUARD,
        bearer_over_mtls: bool = False,
        claims: str | None = None,
        force_refresh: bool = False,
        timeout: float = 60.0,
    ) -> _native.AccessToken:
        """Acquires a token that is bound to the certificate of this client's key, from the cache or from Entra.

        Args:
            resource: such as ``https://vault.azure.net``, or its ``/.default`` scope.
            attested: whether the key must be attested before IMDS issues the certificate.
            min_strength: the minimum strength of the key. A weaker key is an error.
            bearer_over_mtls: whether the token is a bearer token that is requested over the same mutual TLS, for a resource that
                accepts no bound tokens. Anyone who holds it can use it.
            claims: the claims of a resource's challenge, JSON. A new certificate is requested first; the token is not cached.
            force_refresh: whether a new token is requested although one is cached.
            timeout: of the whole call, in seconds.

        Raises:
            KeyboundError: see its subclasses. A weaker token than the requested one is never returned.

        """
        if bearer_over_mtls:
            request = _native.Request.bearer_over_mtls(resource, attested, min_strength, claims, force_refresh, timeout)
            found = self._native.acquire(request)
        else:
            found = self._native.acquire_pop(resource, attested, min_strength, claims, force_refresh, timeout)
        return found if type(found) is _native.AccessToken else found.wait()

    def bearer_token(
        self, resource: str, *, claims: str | None = None, force_refresh: bool = False, timeout: float = 60.0
    ) -> _native.AccessToken:
        """Acquires a plain bearer token from the managed identity source of this host (v1): IMDS, App Service, Container Apps,
        Service Fabric, Azure Arc, Machine Learning or Cloud Shell. Anyone who holds it can use it.

        Args:
            resource: it becomes the token's audience as it is, but for one ``/.default`` at its end.
            claims: the claims of a resource's challenge. They are not sent; a new token is requested.
            force_refresh: whether a new token is requested although one is cached.
            timeout: of the whole call, in seconds.

        Raises:
            KeyboundError: see its subclasses.

        """
        found = self._native.acquire(_native.Request.bearer(resource, claims, force_refresh, timeout))
        return found if type(found) is _native.AccessToken else found.wait()

    def supports_imds_v2(self, *, timeout: float = 60.0) -> bool:
        """Whether IMDS of this host issues certificates for bound tokens. The probe changes nothing.

        Raises:
            KeyboundError: if IMDS does not respond.

        """
        return self._native.supports_imds_v2(timeout).wait()

    def capabilities(self, *, timeout: float = 60.0) -> Capabilities:
        """What this host can do for this client, found without a key and a token: for programs that choose between bound and bearer
        tokens, and to log why there is no stronger binding. A missing capability is part of the answer, not an error. The answer
        is cached.

        Args:
            timeout: how long IMDS is waited for, in seconds; without an answer by then, it counts as not responding.

        """
        return Capabilities(self._native.capabilities(timeout).wait())

    def resource(
        self,
        resource: str,
        *,
        attested: bool = True,
        min_strength: KeyStrength = KeyStrength.KEYGUARD,
        bearer_over_mtls: bool = False,
        timeout: float = 60.0,
        follow_redirects: bool = True,
        honor_retry_after: bool = False,
    ) -> ResourceClient:
        """A client that calls a resource with tokens of this client, on connections that present their certificate.

        Args:
            resource: as in `acquire_token`, as are the arguments up to ``bearer_over_mtls``.
            timeout: of a request, in seconds: acquiring a token, all attempts, and reading the body of the response.
            follow_redirects: whether redirects within the origin are followed. Others never are.
            honor_retry_after: whether idempotent requests are repeated after 429 and 503 with ``Retry-After``.

        Raises:
            InvalidRequest: if the resource is malformed.

        """
        new = _native.Request.bearer_over_mtls if bearer_over_mtls else _native.Request.pop
        request = new(resource, attested, min_strength, None, False, timeout)
        return ResourceClient(self._native.resource(request, timeout, follow_redirects, honor_retry_after), timeout)

    def bearer_resource(
        self, resource: str, *, timeout: float = 60.0, follow_redirects: bool = True, honor_retry_after: bool = False
    ) -> ResourceClient:
        """A client that calls a resource with plain bearer tokens of the host's source. See `resource` and `bearer_token`."""
        request = _native.Request.bearer(resource, None, False, timeout)
        return ResourceClient(self._native.resource(request, timeout, follow_redirects, honor_retry_after), timeout)
