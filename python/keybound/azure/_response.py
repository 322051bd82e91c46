from __future__ import annotations

import zlib
from http.client import responses
from json import loads
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import (
    HttpResponseError,
    IncompleteReadError,
    ServiceResponseError,
    StreamClosedError,
    StreamConsumedError,
)
from azure.core.rest import AsyncHttpResponse
from azure.core.utils import CaseInsensitiveDict

from keybound._errors import DeadlineReached, KeyboundError, with_causes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping

    from azure.core.rest import HttpRequest
    from typing_extensions import Self

    from keybound.aio import Response


class AsyncResponse(AsyncHttpResponse):
    """A response in the type of the SDK. Clients such as those of storage also use members that this type has no more, and that
    responses of the SDK's own transports have: `stream_download`, `load_body`, `body`, `block_size` and `internal_response`.
    """

    block_size = 64 * 1024

    def __init__(self, request: HttpRequest, response: Response) -> None:
        self._request = request
        self._response = response
        self._headers: MutableMapping[str, str] = CaseInsensitiveDict(response.headers)
        self._content: bytes | None = None
        self._encoding: str | None = None
        self._is_closed = False
        self._is_stream_consumed = False

    @property
    def request(self) -> HttpRequest:
        return self._request

    @property
    def status_code(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> MutableMapping[str, str]:
        return self._headers

    @property
    def reason(self) -> str:
        return responses.get(self.status_code, "")

    @property
    def content_type(self) -> str | None:
        return self._headers.get("content-type")

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    @property
    def is_stream_consumed(self) -> bool:
        return self._is_stream_consumed

    @property
    def encoding(self) -> str | None:
        return self._encoding or _charset(self.content_type)

    @encoding.setter
    def encoding(self, value: str | None) -> None:
        self._encoding = value

    @property
    def url(self) -> str:
        return self._request.url

    @property
    def content(self) -> bytes:
        if self._content is None:
            raise ValueError("the body is not read: await read() first")
        return self._content

    def text(self, encoding: str | None = None) -> str:
        return self.content.decode(encoding or self.encoding or "utf-8-sig", "replace")

    def json(self) -> Any:
        return loads(self.text())

    def raise_for_status(self) -> None:
        if self.status_code >= 400:
            raise HttpResponseError(response=self)

    async def read(self) -> bytes:
        if self._content is None:
            self._content = b"".join([chunk async for chunk in self.iter_bytes()])
        return self._content

    async def iter_raw(self, **_options: Any) -> AsyncIterator[bytes]:
        async for chunk in self._stream(decoder=None):
            yield chunk

    async def iter_bytes(self, **_options: Any) -> AsyncIterator[bytes]:
        if self._content is not None:
            yield self._content
            return
        async for chunk in self._stream(_decoder(self._headers.get("content-encoding", ""))):
            yield chunk

    def stream_download(self, pipeline: Any = None, *, decompress: bool = True) -> Download:
        return Download(self, pipeline, self.iter_bytes() if decompress else self.iter_raw())

    async def load_body(self) -> None:
        await self.read()

    def body(self) -> bytes:
        return self.content

    @property
    def internal_response(self) -> Response:
        return self._response

    async def close(self) -> None:
        self._is_closed = True
        self._response.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def _stream(self, decoder: Any) -> AsyncIterator[bytes]:
        if self._is_stream_consumed:
            raise StreamConsumedError(self)
        if self._is_closed:
            raise StreamClosedError(self)
        self._is_stream_consumed = True
        try:
            async for chunk in self._response.iter_bytes():
                yield decoder.decompress(chunk) if decoder else chunk
            if decoder:
                yield decoder.flush()
        except (KeyboundError, zlib.error) as error:
            message = with_causes(error) if isinstance(error, KeyboundError) else str(error)
            raise ServiceResponseError(message, error=error) from error
        finally:
            await self.close()

    def __repr__(self) -> str:
        return f"<AsyncResponse: {self.status_code} {self.reason}>"


class Download:
    """The parts of a body, as `AsyncResponse.stream_download` returns them. Clients read its attributes, and add others."""

    def __init__(self, response: AsyncResponse, pipeline: Any, parts: AsyncIterator[bytes]) -> None:
        self.pipeline = pipeline
        self.request = response.request
        self.response = response
        self.block_size = response.block_size
        self.content_length = int(response.headers.get("content-length", 0))
        self._parts = parts

    def __len__(self) -> int:
        return self.content_length

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._parts.__anext__()
        except ServiceResponseError as error:
            if isinstance(error.__cause__, DeadlineReached):
                raise
            # Clients request the rest after it.
            raise IncompleteReadError(str(error), error=error) from error


class _Decoder:
    """Decodes gzip, of any number of members, or deflate, with or without the header of zlib."""

    def __init__(self, encoding: str) -> None:
        self._is_gzip = encoding != "deflate"
        self._member: Any = None
        self._rest = b""

    def decompress(self, data: bytes) -> bytes:
        parts = []
        data = self._rest + data
        while data:
            if self._member is None or self._member.eof:
                # Two bytes show which header it is.
                if len(data) < 2:
                    break
                self._member = zlib.decompressobj(self._window(data))
            parts.append(self._member.decompress(data))
            data = self._member.unused_data
        self._rest = data
        return b"".join(parts)

    def flush(self) -> bytes:
        """Called at the end of the body, which may have none."""
        if self._rest or not (self._member is None or self._member.eof):
            raise zlib.error("the compressed body is not complete")
        return b""

    def _window(self, data: bytes) -> int:
        if self._is_gzip:
            return 16 + zlib.MAX_WBITS
        if self._member is not None:
            raise zlib.error("the compressed body is followed by other data")
        has_header = data[0] & 15 == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
        return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS


def _decoder(encoding: str) -> _Decoder | None:
    encoding = encoding.strip().lower()
    return _Decoder(encoding) if encoding in ("gzip", "x-gzip", "deflate") else None


def _charset(content_type: str | None) -> str | None:
    from codecs import lookup

    name = (content_type or "").lower().partition("charset=")[2].partition(";")[0].strip(" \"'")
    try:
        return lookup(name).name if name else None
    except LookupError:
        return None
