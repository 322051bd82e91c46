"""The interface of `keybound` for asyncio, whose cancellation ends the request that is under way."""

from keybound.aio._client import ManagedIdentityClient
from keybound.aio._resource import ResourceClient
from keybound.aio._response import Response

__all__ = ["ManagedIdentityClient", "ResourceClient", "Response"]

for _public in (ManagedIdentityClient, ResourceClient, Response):
    _public.__module__ = __name__
