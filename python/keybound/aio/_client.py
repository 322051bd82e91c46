from __future__ import annotations

from keybound import _native
from keybound._capabilities import Capabilities
from keybound._identity import KeyStrength
from keybound._settings import ClientBase
from keybound.aio._resource import ResourceClient


class ManagedIdentityClient(ClientBase):
    """Acquires access tokens for a managed identity of this host, in coroutines of asyncio.

    Arguments, results and errors are those of `keybound.ManagedIdentityClient`. It can be used from any number of event loops.
    """

    __slots__ = ()

    async def acquire_token(
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
        """As `keybound.ManagedIdentityClient.acquire_token`. A cached token is returned without giving way to other tasks."""
        if bearer_over_mtls:
            request = _native.Request.bearer_over_mtls(resource, attested, min_strength, claims, force_refresh, timeout)
            found = self._native.acquire(request)
        else:
            found = self._native.acquire_pop(resource, attested, min_strength, claims, force_refresh, timeout)
        return found if type(found) is _native.AccessToken else await found

    async def bearer_token(
        self, resource: str, *, claims: str | None = None, force_refresh: bool = False, timeout: float = 60.0
    ) -> _native.AccessToken:
        """As `keybound.ManagedIdentityClient.bearer_token`."""
        found = self._native.acquire(_native.Request.bearer(resource, claims, force_refresh, timeout))
        return found if type(found) is _native.AccessToken else await found

    async def supports_imds_v2(self, *, timeout: float = 60.0) -> bool:
        """As `keybound.ManagedIdentityClient.supports_imds_v2`."""
        return await self._native.supports_imds_v2(timeout)

    async def capabilities(self, *, timeout: float = 60.0) -> Capabilities:
        """As `keybound.ManagedIdentityClient.capabilities`."""
        return Capabilities(await self._native.capabilities(timeout))

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
        """As `keybound.ManagedIdentityClient.resource`."""
        new = _native.Request.bearer_over_mtls if bearer_over_mtls else _native.Request.pop
        request = new(resource, attested, min_strength, None, False, timeout)
        return ResourceClient(self._native.resource(request, timeout, follow_redirects, honor_retry_after), timeout)

    def bearer_resource(
        self, resource: str, *, timeout: float = 60.0, follow_redirects: bool = True, honor_retry_after: bool = False
    ) -> ResourceClient:
        """As `keybound.ManagedIdentityClient.bearer_resource`."""
        request = _native.Request.bearer(resource, None, False, timeout)
        return ResourceClient(self._native.resource(request, timeout, follow_redirects, honor_retry_after), timeout)
