from __future__ import annotations

from keybound import _native
from keybound._arguments import check
from keybound._errors import InvalidRequest
from keybound._identity import KeyStrength
from keybound._message import outgoing_headers
from keybound._not_picklable import NotPicklable
from keybound._response import Response
from keybound._settings import ClientBase
from keybound._upload import is_in_memory, send_streamed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from keybound import aio
    from keybound._resource import Content
    from keybound.aio._resource import AsyncContent

_ANY_RESOURCE = "https://vault.azure.net"
_MAX_RESOURCES = 256
# Set for each connection by the client that sends the request.
_OF_CONNECTION = frozenset(
    ("authorization", "connection", "content-length", "host", "keep-alive", "proxy-connection", "transfer-encoding")
)


class BoundCalls(NotPicklable):
    """Bound calls for HTTP libraries and SDKs that have clients of their own, for any number of resources.

    Such a library never has a token: it writes a placeholder into ``Authorization``, which names the resource and is useless
    elsewhere. `send` replaces it by the token, on a connection that presents the certificate of that token. A request without
    ``Authorization`` is sent without token and certificate: libraries remove the header when they follow a redirect to another
    origin, and clients of Key Vault send such requests to learn the resource.
    """

    __slots__ = ("__weakref__", "_attested", "_client", "_id", "_min_strength", "_resources", "_timeout")

    def __init__(
        self,
        client: ClientBase,
        *,
        attested: bool = True,
        min_strength: KeyStrength = KeyStrength.KEYGUARD,
        timeout: float = 60.0,
    ) -> None:
        """Creates the calls; nothing is requested yet.

        Args:
            client: acquires the tokens; a `keybound.ManagedIdentityClient` or `keybound.aio.ManagedIdentityClient`.
            attested: whether the key must be attested.
            min_strength: the minimum strength of the key.
            timeout: of a request unless it has its own, in seconds.

        Raises:
            InvalidRequest: if an argument is malformed.

        """
        from secrets import token_hex

        check("client", client, ClientBase, "a ManagedIdentityClient of keybound or keybound.aio")
        self._client = client
        self._attested = attested
        self._min_strength = min_strength
        self._timeout = timeout
        self._id = token_hex(16)
        self._resources: dict[str, _native.Resource] = {}
        # Checks the arguments, which are those of each request.
        _native.Request.pop(_ANY_RESOURCE, attested, min_strength, None, False, timeout)

    def placeholder(self, resource: str) -> str:
        """What takes the place of the token of a resource, after ``Bearer`` and a space in ``Authorization``."""
        return f"keybound-{self._id}:{resource}"

    def resource_of(self, authorization: str) -> str | None:
        """The resource that a placeholder in ``Authorization`` names; ``None`` if it is none of this value."""
        scheme, _, placeholder = authorization.partition(" ")
        prefix = self.placeholder("")
        is_own = scheme.lower() == "bearer" and placeholder.startswith(prefix)
        return placeholder[len(prefix) :] if is_own else None

    def acquire_token(self, resource: str) -> _native.AccessToken:
        """The token that `send` sends for this resource.

        Raises:
            KeyboundError: see its subclasses.

        """
        found = self._acquire(resource)
        return found if type(found) is _native.AccessToken else found.wait()

    async def acquire_token_async(self, resource: str) -> _native.AccessToken:
        """As `acquire_token`."""
        found = self._acquire(resource)
        return found if type(found) is _native.AccessToken else await found

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content: Content = None,
        timeout: float | None = None,
    ) -> Response:
        """Sends a request; redirects are returned.

        Args:
            method: the HTTP method.
            url: an absolute https URL.
            headers: ``Authorization`` is a placeholder of this value or absent.
            content: the body; a streamed one is sent with the ``Content-Length`` of the headers, else in chunks.
            timeout: in seconds; it includes reading the body of the response.

        Raises:
            InvalidRequest: if ``Authorization`` is anything else. Nothing was sent.
            KeyboundError: see its subclasses.

        """
        request = _Exchange(self, method, url, headers, timeout)
        if is_in_memory(content):
            return Response(request.start(content.encode() if isinstance(content, str) else content).wait())
        return Response(send_streamed(content, request.given, request.start, request.timeout))

    async def send_async(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content: AsyncContent = None,
        timeout: float | None = None,
    ) -> aio.Response:
        """As `send`, in a coroutine of asyncio. An asynchronous iterable is a body too."""
        from keybound.aio._response import Response as AsyncResponse
        from keybound.aio._upload import send_streamed as send_streamed_async

        request = _Exchange(self, method, url, headers, timeout)
        if is_in_memory(content):
            return AsyncResponse(await request.start(content.encode() if isinstance(content, str) else content))
        return await send_streamed_async(content, request.given, request.start, request.timeout)

    def _acquire(self, resource: str) -> _native.AccessToken | _native.Operation[_native.AccessToken]:
        return self._client._native.acquire_pop(resource, self._attested, self._min_strength, None, False, self._timeout)

    def _resource(self, name: str) -> _native.Resource:
        resource = self._resources.get(name)
        if resource is None:
            request = _native.Request.pop(name, self._attested, self._min_strength, None, False, self._timeout)
            resource = self._client._native.resource(request, self._timeout, False, False)
            # They are cheap to create again.
            if len(self._resources) >= _MAX_RESOURCES:
                self._resources.clear()
            self._resources[name] = resource
        return resource

    def __repr__(self) -> str:
        return f"<keybound.BoundCalls attested={self._attested} min_strength={self._min_strength}>"


class _Exchange:
    """A request whose placeholder is resolved."""

    def __init__(
        self,
        calls: BoundCalls,
        method: str,
        url: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None,
        timeout: float | None,
    ) -> None:
        self.given = outgoing_headers(headers)
        self._calls = calls
        self._method = method
        self._url = url
        self.timeout = calls._timeout if timeout is None else timeout
        self._headers = [(name, value) for name, value in self.given if name.lower() not in _OF_CONNECTION]
        self._resource = self._resource_of_placeholder()

    def _resource_of_placeholder(self) -> str | None:
        values = [value for name, value in self.given if name.lower() == "authorization"]
        if not values:
            return None
        resource = self._calls.resource_of(values[0]) if len(values) == 1 else None
        if resource is None:
            raise InvalidRequest(
                "only placeholders of the same BoundCalls are sent as Authorization",
                stage="resource",
                next_step="use the credential or authentication that was created from the same BoundCalls",
            )
        return resource

    def start(self, body: bytes | _native.Upload | None) -> _native.Operation[_native.RawResponse]:
        calls = self._calls
        if self._resource is None:
            return calls._client._native.send_unauthenticated(self._method, self._url, self._headers, body, self.timeout)
        resource = calls._resource(self._resource)
        return resource.send(self._method, self._url, self._headers, body, self.timeout)
