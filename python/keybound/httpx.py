"""Bound calls through httpx.

    calls = keybound.BoundCalls(keybound.ManagedIdentityClient())
    with keybound.httpx.client(calls, "https://vault.azure.net") as vault:
        secret = vault.get("https://my-vault.vault.azure.net/secrets/db?api-version=7.4").json()

Cookies, redirects, event hooks and streaming are those of httpx; the connections are those of the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import httpx

from keybound._adapter import call_timeout, header_pairs, is_connection_failure
from keybound._errors import DeadlineReached, KeyboundError, with_causes
from keybound._upload import Converted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    from keybound._calls import BoundCalls
    from keybound._response import Response
    from keybound.aio import Response as AsyncResponse

# They would bypass the transport, or have no effect on it.
_NOT_SETTINGS = frozenset(
    ("app", "auth", "cert", "http1", "http2", "limits", "mounts", "proxies", "proxy", "transport", "trust_env", "verify")
)

__all__ = ["AsyncBoundTransport", "BoundAuth", "BoundTransport", "async_client", "client"]


def client(calls: BoundCalls, resource: str, **settings: Any) -> httpx.Client:
    """A client whose requests are bound calls of a resource.

    Args:
        calls: sends the requests.
        resource: that of the tokens, such as ``https://vault.azure.net``.
        settings: those of `httpx.Client`, without ``auth``, ``transport`` and those of TLS, proxies and connections. By default,
            the timeout is that of the calls.

    Raises:
        TypeError: if a setting would bypass the transport, or have no effect on it.

    """
    _check(settings)
    return httpx.Client(auth=BoundAuth(calls, resource), transport=BoundTransport(calls), trust_env=False, **settings)


def async_client(calls: BoundCalls, resource: str, **settings: Any) -> httpx.AsyncClient:
    """As `client`, for asyncio. Cancellation ends the request that is under way."""
    _check(settings)
    transport = AsyncBoundTransport(calls)
    return httpx.AsyncClient(auth=BoundAuth(calls, resource), transport=transport, trust_env=False, **settings)


class BoundAuth(httpx.Auth):
    """Authenticates requests to a resource; for clients with a `BoundTransport` or `AsyncBoundTransport` of the same calls.

    It writes a placeholder, never a token: httpx removes it when it follows a redirect to another origin, and it is useless
    elsewhere.
    """

    def __init__(self, calls: BoundCalls, resource: str) -> None:
        """Creates the authentication.

        Args:
            calls: those of the transport.
            resource: that of the tokens, such as ``https://vault.azure.net``.

        """
        self._authorization = f"Bearer {calls.placeholder(resource)}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Called by the client."""
        request.headers["Authorization"] = self._authorization
        yield request


class BoundTransport(httpx.BaseTransport):
    """Sends requests over the connections of a client.

    A request with a placeholder is sent with the token and the certificate that it is bound to, one without ``Authorization``
    with neither. Any other ``Authorization`` is an error, and nothing is sent. No request is sent twice.

    Trust, TLS and proxies are those of the client of the calls. The longest of the connect, read and write timeouts is that of the
    whole call, including the body of the response; if one is ``None``, it is that of the calls.
    """

    def __init__(self, calls: BoundCalls) -> None:
        """Creates the transport; nothing is opened yet.

        Args:
            calls: sends the requests.

        """
        self._calls = calls

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Called by the client.

        Raises:
            httpx.ReadTimeout: if the timeout passed and the request may have been sent.
            httpx.ReadError: if the connection failed and the request may have been sent.
            httpx.ConnectTimeout, httpx.ConnectError: if nothing was sent.
            KeyboundError: if no retry helps: the request is invalid, or there is no token for it. Nothing was sent.

        """
        try:
            response = self._calls.send(
                request.method,
                _https_url(request),
                headers=header_pairs(request.headers.multi_items()),
                content=_content(request),
                timeout=_timeout(request),
            )
        except KeyboundError as error:
            if not is_connection_failure(error):
                raise
            raise _converted(error, request) from error
        return _response(response, _Body(response, request))


class AsyncBoundTransport(httpx.AsyncBaseTransport):
    """As `BoundTransport`, for asyncio."""

    def __init__(self, calls: BoundCalls) -> None:
        """Creates the transport; nothing is opened yet.

        Args:
            calls: sends the requests.

        """
        self._calls = calls

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As `BoundTransport.handle_request`."""
        try:
            response = await self._calls.send_async(
                request.method,
                _https_url(request),
                headers=header_pairs(request.headers.multi_items()),
                content=_content(request),
                timeout=_timeout(request),
            )
        except KeyboundError as error:
            if not is_connection_failure(error):
                raise
            raise _converted(error, request) from error
        return _response(response, _AsyncBody(response, request))


class _Body(httpx.SyncByteStream):
    def __init__(self, response: Response, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_bytes()
        except KeyboundError as error:
            raise _converted(error, self._request) from error

    def close(self) -> None:
        self._response.close()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, response: AsyncResponse, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.iter_bytes():
                yield chunk
        except KeyboundError as error:
            raise _converted(error, self._request) from error

    async def aclose(self) -> None:
        self._response.close()


def _check(settings: dict[str, Any]) -> None:
    unsupported = sorted(_NOT_SETTINGS.intersection(settings))
    if unsupported:
        raise TypeError(f"{', '.join(unsupported)}: trust, proxies and connections are those of the client of the calls")
    settings.setdefault("timeout", None)


def _https_url(request: httpx.Request) -> str:
    if request.url.scheme != "https":
        raise httpx.UnsupportedProtocol("bound calls need an https URL", request=request)
    return str(request.url.copy_with(fragment=None))


def _content(request: httpx.Request) -> Any:
    try:
        return request.content or None
    except httpx.RequestNotRead:
        pass
    # Streams of httpx read the body that the caller passed, which they know only themselves.
    return Converted(request.stream, getattr(request.stream, "_stream", request.stream))


def _timeout(request: httpx.Request) -> float | None:
    limits = cast("dict[str, float | None]", request.extensions.get("timeout", {}))
    return call_timeout(*(limits.get(name) for name in ("connect", "read", "write")))


def _response(response: Response | AsyncResponse, body: httpx.SyncByteStream | httpx.AsyncByteStream) -> httpx.Response:
    pairs = response.headers.pairs
    return httpx.Response(response.status_code, headers=pairs, stream=body, extensions={"http_version": b"HTTP/1.1"})


def _converted(error: KeyboundError, request: httpx.Request) -> httpx.TransportError:
    kinds: dict[tuple[bool, bool], type[httpx.TransportError]] = {
        (True, True): httpx.ReadTimeout,
        (True, False): httpx.ConnectTimeout,
        (False, True): httpx.ReadError,
        (False, False): httpx.ConnectError,
    }
    return kinds[isinstance(error, DeadlineReached), error.may_have_been_sent](with_causes(error), request=request)
