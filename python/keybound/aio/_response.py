from __future__ import annotations

from collections.abc import AsyncIterator

from keybound import _native
from keybound._response import DEFAULT_LIMIT, ResponseBase, checked_limit, parse_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self


class Response(ResponseBase):
    """The response of a resource. See `keybound.Response`."""

    __slots__ = ("_upload",)

    def __init__(self, native: _native.RawResponse, upload: _native.Upload | None = None) -> None:
        super().__init__(native)
        # One that is not complete ends the connection when it is dropped.
        self._upload = upload

    async def read(self, limit: int = DEFAULT_LIMIT) -> bytes:
        """As `keybound.Response.read`."""
        body = self._native.read(checked_limit(limit))
        return body if isinstance(body, bytes) else await body

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """As `keybound.Response.iter_bytes`."""
        content = self._native.content
        if content:
            yield content
        while True:
            chunk = self._native.next_chunk()
            if isinstance(chunk, _native.Operation):
                chunk = await chunk
            if chunk is None:
                return
            yield chunk

    async def text(self, limit: int = DEFAULT_LIMIT) -> str:
        """As `keybound.Response.text`."""
        return (await self.read(limit)).decode("utf-8", "replace")

    async def json(self, limit: int = DEFAULT_LIMIT) -> Any:
        """As `keybound.Response.json`."""
        return parse_json(await self.read(limit))

    async def raise_for_status(self) -> Response:
        """As `keybound.Response.raise_for_status`."""
        if self.status_code >= 400:
            raise await self._native.status_error()
        return self

    def close(self) -> None:
        """As `keybound.Response.close`."""
        self._native.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()
