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


class Headers:
    """The headers of a request, which are not shown: tracebacks show local variables."""

    __slots__ = ("pairs",)

    def __init__(self, headers: Mapping[str, str] | None) -> None:
        self.pairs = list((headers or {}).items())

    def check(self) -> None:
        """Rejects malformed headers.

        Raises:
            TypeError: if a name or a value is not text.
            ValueError: if a header contains a line break or its name a colon, or if there is not exactly one Authorization header.
                Values are not shown, as they may be secret.

        """
        names = [name for name, _ in self.pairs]
        for name in names:
            if not isinstance(name, str):
                raise TypeError("a header name is not text")
            if any(character in name for character in "\r\n:"):
                raise ValueError(f"Invalid header name (contains CR, LF or colon): {name!r}")
        for name in [name for name, value in self.pairs if not isinstance(value, str)]:
            raise TypeError(f"the value of header {name!r} is not text")
        for name in [name for name, value in self.pairs if "\r" in value or "\n" in value]:
            raise ValueError(f"Invalid value of header {name!r} (contains CR or LF)")
        if [name.lower() for name in names].count("authorization") != 1:
            raise ValueError("SchannelSession sends bound tokens: one Authorization header is required")

    def add_missing(self, added: list[tuple[str, str]]) -> None:
        """Adds those whose names the headers do not have."""
        names = {name.lower() for name, _ in self.pairs}
        self.pairs += [pair for pair in added if pair[0].lower() not in names]
