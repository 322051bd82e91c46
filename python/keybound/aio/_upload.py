from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator

from keybound import _native
from keybound._errors import DeadlineReached, KeyboundError
from keybound._upload import (
    as_bytes,
    check_unused,
    chunks,
    content_and_source,
    content_length,
    mark_sent,
    mark_used,
    upload_too_slow,
)
from keybound.aio._response import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


async def send_streamed(
    body: object,
    headers: list[tuple[str, str]],
    send: Callable[[_native.Upload], _native.Operation[_native.RawResponse]],
    timeout: float,
) -> Response:
    """As the function of this name for blocking clients. A response, or the timeout, ends the wait for the next part."""
    upload = _Upload(body, headers)
    response = asyncio.ensure_future(send(upload.native))
    deadline = asyncio.get_running_loop().time() + timeout
    reading = asyncio.ensure_future(upload.read())
    try:
        await asyncio.wait((response, reading), return_when=asyncio.FIRST_COMPLETED)
        if response.done() and not response.exception() and response.result().status < 300:
            # The server may still read the body.
            await asyncio.wait((reading,), timeout=deadline - asyncio.get_running_loop().time())
            if not reading.done():
                raise upload_too_slow(upload.waits_for_source)
        if reading.done():
            # Fails if the source does.
            reading.result()
        return Response(await upload.converted_errors(response), upload.native)
    except BaseException:
        # Without `finish`, the body is incomplete: the server does not take it for a whole one.
        upload.native.close()
        raise
    finally:
        response.cancel()
        reading.cancel()
        await asyncio.gather(response, reading, return_exceptions=True)


class _Upload:
    """A body that is read while it is sent."""

    def __init__(self, body: object, headers: list[tuple[str, str]]) -> None:
        self._content, self._source = content_and_source(body)
        check_unused(self._source)
        self.native = _native.Upload(content_length(headers))
        self.has_begun = False
        self.waits_for_source = False

    async def read(self) -> None:
        """Reads until the end, or until no more is accepted."""
        if not await self.native.wanted():
            return
        mark_used(self._source)
        self.has_begun = True
        parts = self._content.__aiter__() if isinstance(self._content, AsyncIterable) else _asynchronous(self._content)
        try:
            await self._push(parts)
        finally:
            for opened in (parts, self._source):
                if isinstance(opened, AsyncGenerator):
                    await opened.aclose()

    async def converted_errors(self, response: asyncio.Future[_native.RawResponse]) -> _native.RawResponse:
        """The response. Its errors say what happened to the body."""
        try:
            return await response
        except KeyboundError as error:
            if self.has_begun:
                mark_sent(error)
            if self.waits_for_source and isinstance(error, DeadlineReached):
                raise upload_too_slow(by_source=True) from error
            raise

    async def _push(self, parts: AsyncIterator[Any]) -> None:
        self.waits_for_source = True
        async for part in parts:
            accepted = self.native.push(as_bytes(part))
            if accepted is False:
                return
            self.waits_for_source = False
            if accepted is not True and not await accepted:
                return
            self.waits_for_source = True
        self.waits_for_source = False
        self.native.finish()


async def _asynchronous(content: object) -> AsyncIterator[bytes]:
    for chunk in chunks(content):
        yield chunk
