from __future__ import annotations

from keybound import _native
from keybound._message import UNSET, outgoing_headers, with_json, with_params
from keybound._not_picklable import NotPicklable
from keybound._upload import is_in_memory
from keybound.aio._response import Response
from keybound.aio._upload import send_streamed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable, Mapping
    from typing import IO, Any, Union

    from typing_extensions import Unpack

    from keybound._resource import CommonOptions

    # The body of a request: in memory, or streamed from an iterable, an asynchronous iterable or a file.
    AsyncContent = Union[bytes, str, Iterable[bytes], AsyncIterable[bytes], IO[bytes], None]

    class AsyncRequestOptions(CommonOptions, total=False):
        """Options of a request."""

        content: AsyncContent


class ResourceClient(NotPicklable):
    """Sends requests to a resource. See `keybound.ResourceClient`."""

    __slots__ = ("_native", "_timeout")

    def __init__(self, native: _native.Resource, timeout: float) -> None:
        self._native = native
        self._timeout = timeout

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content: AsyncContent = None,
        json: Any = UNSET,
        timeout: float | None = None,
    ) -> Response:
        """As `keybound.ResourceClient.request`. A body is an asynchronous iterable, or one of those there; reading a file blocks
        the event loop.
        """
        url = with_params(url, params)
        pairs = outgoing_headers(headers)
        content = with_json(content, json, pairs)
        if is_in_memory(content):
            body = content.encode() if isinstance(content, str) else content
            return Response(await self._native.send(method, url, pairs, body, timeout))
        return await send_streamed(
            content,
            pairs,
            lambda upload: self._native.send(method, url, pairs, upload, timeout),
            self._timeout if timeout is None else timeout,
        )

    async def get(self, url: str, **options: Unpack[AsyncRequestOptions]) -> Response:
        """A GET request; the options are those of `request`."""
        return await self.request("GET", url, **options)

    async def head(self, url: str, **options: Unpack[AsyncRequestOptions]) -> Response:
        """A HEAD request; the options are those of `request`."""
        return await self.request("HEAD", url, **options)

    async def post(self, url: str, **options: Unpack[AsyncRequestOptions]) -> Response:
        """A POST request; the options are those of `request`."""
        return await self.request("POST", url, **options)

    async def put(self, url: str, **options: Unpack[AsyncRequestOptions]) -> Response:
        """A PUT request; the options are those of `request`."""
        return await self.request("PUT", url, **options)

    async def patch(self, url: str, **options: Unpack[AsyncRequestOptions]) -> Response:
        """A PATCH request; the options are those of `request`."""
        return await self.request("PATCH", url, **options)

    async def delete(self, url: str, **options: Unpack[AsyncRequestOptions]) -> Response:
        """A DELETE request; the options are those of `request`."""
        return await self.request("DELETE", url, **options)
