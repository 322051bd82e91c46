"""Responses in the type of urllib3, which requests uses too."""

from __future__ import annotations

import io
import socket
from http.client import HTTPMessage, responses
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPHeaderDict, HTTPResponse

from keybound._errors import DeadlineReached, KeyboundError

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
) -> HTTPResponse:
    """The response, whose body is read on demand unless it is preloaded."""
    pairs = response.headers.pairs
    body = _Body(response)
    original: Any = _OriginalResponse(body, pairs)
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

    def __init__(self, response: Response) -> None:
        super().__init__()
        self._response = response
        self._chunks = response.iter_bytes()
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            try:
                self._rest = memoryview(next(self._chunks))
            except StopIteration:
                return 0
            except DeadlineReached as error:
                # urllib3 converts the exceptions of sockets to its own.
                raise socket.timeout(str(error)) from error
            except KeyboundError as error:
                raise ConnectionError(str(error)) from error
        length = min(len(buffer), len(self._rest))
        buffer[:length] = self._rest[:length]
        self._rest = self._rest[length:]
        return length

    def read1(self, size: int = -1) -> bytes:
        return self.read(size if size >= 0 else io.DEFAULT_BUFFER_SIZE) or b""

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
