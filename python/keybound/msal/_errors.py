from __future__ import annotations

from keybound._errors import with_causes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from keybound import KeyboundError


class ManagedIdentityError(ValueError):
    """A token of a managed identity could not be acquired, or was requested with unsuitable arguments.

    The attributes are those of `keybound.KeyboundError`, which is the cause of the error, if there is one.
    """

    code: str = "invalid_request"
    stage: str = "request"
    status: int | None = None
    service: Mapping[str, Any] = {}
    retryable: bool = False
    deadline_reached: bool = False
    next_step: str = "correct the arguments"

    def __init__(self, *args: object, code: str | None = None) -> None:
        super().__init__(*args)
        if code is not None:
            self.code = code


class MsiV2Error(ManagedIdentityError):
    """A bound token could not be acquired. There is no fallback to a bearer token."""


def msi_v2_error(error: KeyboundError) -> MsiV2Error:
    """The error of ``msal-msiv2`` for an error of Keybound."""
    converted = MsiV2Error(f"[msi_v2] {with_causes(error)}")
    for name in _ATTRIBUTES:
        setattr(converted, name, getattr(error, name))
    return converted


_ATTRIBUTES = ("code", "stage", "status", "service", "retryable", "deadline_reached", "next_step")
