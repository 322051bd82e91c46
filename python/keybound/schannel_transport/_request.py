from __future__ import annotations

from urllib.parse import urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def check_url(url: str) -> None:
    """Rejects URLs other than https.

    Raises:
        ValueError: the URL is not shown, as its query may be secret.

    """
    parts = urlsplit(url)
    if parts.scheme.lower() != "https" or not parts.hostname:
        raise ValueError("SchannelSession sends to absolute https URLs only")


def checked_headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """The headers as pairs.

    Raises:
        ValueError: if a header contains a line break or its name a colon, or if there is not exactly one Authorization header.
            Values are not shown, as they may be secret.

    """
    for name, value in headers.items():
        if any(character in name for character in "\r\n:"):
            raise ValueError(f"Invalid header name (contains CR, LF or colon): {name!r}")
        if "\r" in value or "\n" in value:
            raise ValueError(f"Invalid value of header {name!r} (contains CR or LF)")
    if [name.lower() for name in headers].count("authorization") != 1:
        raise ValueError("SchannelSession sends bound tokens: one Authorization header is required")
    return list(headers.items())
