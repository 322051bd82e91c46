from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from keybound import _native
from keybound._errors import KeyboundError
from keybound._upload import as_bytes, check_unused, chunks, content_length, mark_sent, mark_used

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable


async def send_streamed(
    content: object,
    headers: list[tuple[str, str]],
    send: Callable[[_native.Upload], _native.Operation[_native.RawResponse]],
) -> _native.RawResponse:
    """As the function of this name for blocking clients."""
    check_unused(content)
    upload = _native.Upload(content_length(headers))
    response = send(upload)
    try:
        if not await upload.wanted():
            return await response
        mark_used(content)
        async for chunk in _chunks(content):
            accepted = upload.push(chunk)
            if not (accepted if isinstance(accepted, bool) else await accepted):
                break
        else:
            upload.finish()
    finally:
        upload.close()
    try:
        return await response
    except KeyboundError as error:
        mark_sent(error)
        raise


async def _chunks(content: object) -> AsyncIterator[bytes]:
    if isinstance(content, AsyncIterable):
        async for chunk in content:
            yield as_bytes(chunk)
    else:
        for chunk in chunks(content):
            yield chunk
