"""Bound calls through urllib3.

    calls = keybound.BoundCalls(keybound.ManagedIdentityClient())
    http = keybound.urllib3.BoundPoolManager(calls, "https://vault.azure.net")
    secret = http.request("GET", "https://my-vault.vault.azure.net/secrets/db?api-version=7.4").json()

Retries and redirects are those of urllib3; the connections are those of the client.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPHeaderDict, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProtocolError
from urllib3.util import SKIP_HEADER

from keybound._adapter import call_timeout, header_pairs, is_connection_failure
from keybound._errors import DeadlineReached, KeyboundError, with_causes
from keybound._upload import Converted, encoded_chunks, is_in_memory
from keybound._urllib3_response import new_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3 import BaseHTTPResponse, Retry, Timeout

    from keybound._calls import BoundCalls

__all__ = ["BoundPoolManager"]


class BoundPoolManager(PoolManager):
    """A pool manager whose https requests are bound calls. Plain http URLs are errors.

    Trust, TLS and proxies are those of the client of the calls. The longer one of the connect and the read timeout is that of the
    whole call, including the body of the response; by default it is that of the calls. A request that may have been sent is
    repeated only if ``retries`` allow it for its method: by default never a POST or PATCH.
    """

    def __init__(
        self,
        calls: BoundCalls,
        resource: str | None = None,
        *,
        num_pools: int = 10,
        headers: Mapping[str, str] | None = None,
        retries: Retry | bool | int | None = None,
        timeout: Timeout | float | None = None,
    ) -> None:
        """Creates the pool manager; nothing is opened yet.

        Args:
            calls: sends the requests.
            resource: that of the tokens, such as ``https://vault.azure.net``, for requests without ``Authorization``. If ``None``,
                those are sent without token and certificate.
            num_pools: the number of origins that are kept.
            headers: those of requests without ``headers``.
            retries: as in `urllib3.PoolManager`.
            timeout: as in `urllib3.PoolManager`.

        """
        settings: dict[str, Any] = {} if retries is None else {"retries": retries}
        super().__init__(num_pools, headers, timeout=timeout, **settings)
        self._authorization = None if resource is None else f"Bearer {calls.placeholder(resource)}"
        _use_calls(self, calls, self._authorization)
        # Its `urlopen` calls itself for redirects to other origins, whose requests get no placeholder.
        self._sender = PoolManager(num_pools)
        self._sender.connection_pool_kw = self.connection_pool_kw
        _use_calls(self._sender, calls, None)

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **kw: Any
    ) -> BaseHTTPResponse:
        """Sends a request, as `urllib3.PoolManager.urlopen`; `request` and other methods call it.

        Raises:
            urllib3.exceptions.HTTPError: as in urllib3. It is a `urllib3.exceptions.ProtocolError` or
                `urllib3.exceptions.ReadTimeoutError`, or has one as its reason, if the request may have been sent.
            KeyboundError: if no retry helps: the request is invalid, or there is no token for it. Nothing was sent.

        """
        headers = kw.pop("headers", None)
        headers = _authorized(self.headers if headers is None else headers, self._authorization)
        return self._sender.urlopen(method, url, redirect, headers=headers, **kw)

    def clear(self) -> None:
        """Drops the pools, as `urllib3.PoolManager.clear`."""
        self._sender.clear()
        super().clear()


def _use_calls(manager: PoolManager, calls: BoundCalls, authorization: str | None) -> None:
    connection = type("BoundConnection", (_BoundConnection,), {"calls": calls})
    pool = type("BoundConnectionPool", (_BoundConnectionPool,), {"ConnectionCls": connection, "authorization": authorization})
    manager.pool_classes_by_scheme = {"https": pool}
    manager.key_fn_by_scheme = {"https": manager.key_fn_by_scheme["https"]}


def _authorized(headers: Mapping[str, str] | None, authorization: str | None) -> HTTPHeaderDict:
    """The headers with this value of `Authorization`, unless they have one."""
    headers = HTTPHeaderDict(headers)
    if authorization is not None:
        headers.setdefault("Authorization", authorization)
    return headers


class _BoundConnectionPool(HTTPSConnectionPool):
    """The requests to one origin, which is that of each of them."""

    authorization: str | None

    def urlopen(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None, *args: Any, **kw: Any
    ) -> BaseHTTPResponse:
        headers = _authorized(self.headers if headers is None else headers, self.authorization)
        return super().urlopen(method, url, body, headers, *args, **kw)


class _BoundConnection(HTTPSConnection):
    """Sends the requests of a pool by the client, which has the connections."""

    calls: BoundCalls
    is_verified = True

    def connect(self) -> None:
        pass

    def close(self) -> None:
        pass

    @property
    def is_closed(self) -> bool:
        return False

    @property
    def is_connected(self) -> bool:
        return True

    def request(  # type: ignore[override]
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        # Sent by `getresponse`: this method may ignore errors of sockets.
        self._given = method, url, body, headers, options
        self._connect_timeout = self.timeout

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        method, path, body, headers, options = self._given
        options.pop("chunked", None)
        host = f"[{self.host}]" if ":" in self.host else self.host
        url = f"https://{host}:{self.port}{path}"
        timeout = call_timeout(self._connect_timeout, self.timeout)
        try:
            response = self.calls.send(method, url, headers=_headers(headers), content=_content(body), timeout=timeout)
        except KeyboundError as error:
            if not is_connection_failure(error):
                raise
            raise self._converted(error) from error
        return new_response(response, method, path, **options)

    def _converted(self, error: KeyboundError) -> Exception:
        message = with_causes(error)
        if isinstance(error, DeadlineReached):
            # The pool converts the one of sockets to its ReadTimeoutError.
            return socket.timeout(message) if error.may_have_been_sent else ConnectTimeoutError(self, message)
        return ProtocolError(message, error) if error.may_have_been_sent else NewConnectionError(self, message)


def _headers(headers: Mapping[str, str] | None) -> list[tuple[str, str]]:
    pairs = [(name, value) for name, value in header_pairs((headers or {}).items()) if value != SKIP_HEADER]
    if not any(name.lower() == "accept-encoding" for name, _ in pairs):
        # As urllib3 sends, unless the caller asks for compressed bodies.
        pairs.append(("Accept-Encoding", "identity"))
    return pairs


def _content(body: Any) -> Any:
    # As urllib3, it encodes text.
    return body if is_in_memory(body) else Converted(encoded_chunks(body), body)
