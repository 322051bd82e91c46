"""Responses in the type of urllib3, which requests uses too."""

from __future__ import annotations

import io
import socket
from http.client import HTTPMessage, responses
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPHeaderDict, HTTPResponse

from keybound._errors import DeadlineReached, KeyboundError, with_causes

if TYPE_CHECKING:
    from keybound._response import Response


def new_response(
    response: Response,
    method: str,
    url: str,
    *,
    preload_content: bool = False,
    decode_content: bool = False,
    enforce_content_length: bool = True,
    deadline_error: type[OSError] = socket.timeout,
) -> HTTPResponse:
    """The response, whose body is read on demand unless it is preloaded. If the timeout passes meanwhile, the body raises
    `deadline_error`: urllib3 converts it to its `ReadTimeoutError`, and other errors of sockets to its `ProtocolError`.
    """
    pairs = response.headers.pairs
    body = _Body(response, deadline_error)
    # Cookie jars read only this, and it takes time to create.
    has_cookies = any(name == "set-cookie" for name, _ in pairs)
    original: Any = _OriginalResponse(body, pairs) if has_cookies else None
    return HTTPResponse(
        body=body,
        headers=HTTPHeaderDict(pairs),
        status=response.status_code,
        version=11,
        reason=responses.get(response.status_code),
        preload_content=preload_content,
        decode_content=decode_content,
        enforce_content_length=enforce_content_length,
        original_response=original,
        request_method=method,
        request_url=url,
    )


class _Body(io.RawIOBase):
    """The body as a file."""

    def __init__(self, response: Response, deadline_error: type[OSError]) -> None:
        super().__init__()
        self._deadline_error = deadline_error
        self._response = response
        self._chunks = response.iter_bytes()
        self._rest: bytes | memoryview = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self.read1(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def read(self, size: int | None = -1) -> bytes:
        """At most this many bytes, none only at the end: what is at hand, without a copy if it is a whole chunk."""
        return self.readall() if size is None or size < 0 else self.read1(size)

    def read1(self, size: int = -1) -> bytes:
        """As `read`; without a size, the next chunk."""
        chunk: bytes | memoryview = self._rest or self._next_chunk()
        self._rest = b""
        if 0 <= size < len(chunk):
            whole = memoryview(chunk)
            chunk, self._rest = whole[:size], whole[size:]
        return chunk if isinstance(chunk, bytes) else bytes(chunk)

    def _next_chunk(self) -> bytes:
        try:
            return next(filter(None, self._chunks), b"")
        except DeadlineReached as error:
            raise self._deadline_error(with_causes(error)) from error
        except KeyboundError as error:
            raise ConnectionError(with_causes(error)) from error

    def close(self) -> None:
        if not self.closed:
            self._response.close()
        super().close()


class _OriginalResponse:
    """What cookie jars read of a response of `http.client`."""

    def __init__(self, body: _Body, pairs: list[tuple[str, str]]) -> None:
        self._body = body
        self.msg = HTTPMessage()
        for name, value in pairs:
            self.msg[name] = value

    def isclosed(self) -> bool:
        return self._body.closed

    def close(self) -> None:
        self._body.close()
