"""One interface to the libraries that the package adapts to, so that each test of a common behaviour runs with each."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any, Callable

import httpx
import requests
import urllib3

import keybound.httpx
import keybound.requests
import keybound.urllib3

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from keybound import BoundCalls


@dataclasses.dataclass
class Answer:
    status: int
    body: bytes
    text_headers: dict[str, str]


@dataclasses.dataclass
class Library:
    name: str
    send: Callable[..., Answer]
    """Arguments: calls, resource or None, method, url; body, headers, timeout."""
    never_sent: type[Exception]
    may_have_been_sent: type[Exception]
    timed_out: type[Exception]
    timed_out_before: type[Exception]
    unsupported: type[Exception]
    broken_body: tuple[type[Exception], ...]

    def __str__(self) -> str:
        return self.name


def _requests(calls: BoundCalls, resource: str | None, method: str, url: str, body: Any = None, **options: Any) -> Answer:
    with keybound.requests.session(calls, resource or "") as session:
        if resource is None:
            session.auth = None
        response = session.request(method, url, data=body, **options)
        return Answer(response.status_code, response.content, dict(response.headers))


def _urllib3(calls: BoundCalls, resource: str | None, method: str, url: str, body: Any = None, **options: Any) -> Answer:
    pool = keybound.urllib3.BoundPoolManager(calls, resource)
    try:
        response = pool.request(method, url, body, **options)
    except urllib3.exceptions.MaxRetryError as error:
        if error.reason is None:
            raise
        raise error.reason from error.reason.__cause__
    return Answer(response.status, response.data, dict(response.headers))


def _httpx(calls: BoundCalls, resource: str | None, method: str, url: str, body: Any = None, **options: Any) -> Answer:
    with keybound.httpx.client(calls, resource or "", follow_redirects=True) as client:
        if resource is None:
            client.auth = None  # type: ignore[assignment]
        response = client.request(method, url, content=body, **options)
        return Answer(response.status_code, response.content, dict(response.headers))


def _async_httpx(calls: BoundCalls, resource: str | None, method: str, url: str, body: Any = None, **options: Any) -> Answer:
    async def send() -> Answer:
        async with keybound.httpx.async_client(calls, resource or "", follow_redirects=True) as client:
            if resource is None:
                client.auth = None  # type: ignore[assignment]
            content = body if body is None or isinstance(body, bytes) else _asynchronous(body)
            response = await client.request(method, url, content=content, **options)
            return Answer(response.status_code, response.content, dict(response.headers))

    return asyncio.run(send())


async def _asynchronous(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


REQUESTS = Library(
    "requests",
    _requests,
    requests.exceptions.ConnectionError,
    requests.exceptions.ConnectionError,
    requests.exceptions.ReadTimeout,
    requests.exceptions.ConnectTimeout,
    requests.exceptions.InvalidSchema,
    (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError),
)
URLLIB3 = Library(
    "urllib3",
    _urllib3,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ProtocolError,
    urllib3.exceptions.ReadTimeoutError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.URLSchemeUnknown,
    (urllib3.exceptions.ProtocolError,),
)
HTTPX = Library(
    "httpx",
    _httpx,
    httpx.ConnectError,
    httpx.ReadError,
    httpx.ReadTimeout,
    httpx.ConnectTimeout,
    httpx.UnsupportedProtocol,
    (httpx.ReadError,),
)
ASYNC_HTTPX = dataclasses.replace(HTTPX, name="httpx-async", send=_async_httpx)
LIBRARIES = [REQUESTS, URLLIB3, HTTPX, ASYNC_HTTPX]
