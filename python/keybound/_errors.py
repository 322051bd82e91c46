"""The exceptions of the package."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


class KeyboundError(Exception):
    """A call failed. The subclass says what a caller can do; ``code`` names the kind of the failure.

    The message describes the failure and, where a service reported it, the service's error, redacted. Causes are in
    ``__cause__``. None of them contains a secret.
    """

    code: str
    """The stable name of the kind, such as ``"key_too_weak"``; see docs/troubleshooting.md."""
    stage: str
    """The step that failed: ``"request"``, ``"metadata"``, ``"key"``, ``"attestation"``, ``"credential"``, ``"token"``,
    ``"source"`` or ``"resource"``."""
    status: int | None
    """The HTTP status of the service's response, if there was one."""
    service: Mapping[str, Any]
    """The error of the service's response: ``error``, ``description``, ``codes``, ``trace_id``, ``correlation_id`` and
    ``timestamp``, those that it had."""
    retryable: bool
    """Whether a later retry of the same call can help. After ``may_have_been_sent``, retry only what is idempotent."""
    deadline_reached: bool
    """Whether the timeout of the call passed before its retries ended."""
    next_step: str
    """What to do next, in one sentence."""
    may_have_been_sent: bool
    """Whether the request to the resource may have reached it."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "invalid_request",
        stage: str = "request",
        status: int | None = None,
        service: Mapping[str, Any] | None = None,
        retryable: bool = False,
        deadline_reached: bool = False,
        next_step: str = "correct the request; nothing was sent",
        may_have_been_sent: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.stage = stage
        self.status = status
        self.service = dict(service or {})
        self.retryable = retryable
        self.deadline_reached = deadline_reached
        self.next_step = next_step
        self.may_have_been_sent = may_have_been_sent

    def __reduce__(self) -> tuple[Any, ...]:
        return _new, (type(self), self.args), self.__dict__.copy()


class InvalidRequest(KeyboundError, ValueError):
    """An argument is malformed. Nothing was sent, unless ``may_have_been_sent``: then a streamed body has another length than its
    ``Content-Length``.
    """


class Unreachable(KeyboundError, ConnectionError):
    """No connection to the service. Nothing was sent to it."""


class DeadlineReached(KeyboundError, TimeoutError):
    """The timeout passed."""


class ServiceRefused(KeyboundError):
    """The service rejected the request, is failing or throttling, or its response is not that of the protocol."""


class ImdsV2Unavailable(KeyboundError):
    """This host does not issue bound tokens: IMDS v1 only, another source, or v2 is switched off. There is no fallback."""


class KeyUnavailable(KeyboundError):
    """This host has no key of the required strength, or the key cannot sign."""


class AttestationFailed(KeyboundError):
    """The key cannot be attested."""


class BindingRefused(KeyboundError):
    """A check of the key's certificate or of the token failed; what was issued is discarded."""


class TlsFailed(KeyboundError):
    """TLS failed: a certificate was rejected, or the certificate of the client was not requested."""


class ResourceTakesNoBoundTokens(KeyboundError):
    """The resource, or the tenant, does not accept bound tokens."""


class ErrorCause(Exception):
    """A cause of a ``KeyboundError``."""


_CLASSES: dict[str, type[KeyboundError]] = {
    "invalid_request": InvalidRequest,
    "identity_unsupported": InvalidRequest,
    "imds_v2_unavailable": ImdsV2Unavailable,
    "imds_v2_disabled": ImdsV2Unavailable,
    "source_unsupported": ImdsV2Unavailable,
    "arc_challenge_failed": ServiceRefused,
    "assertion_unavailable": ServiceRefused,
    "assertion_invalid": ServiceRefused,
    "assertion_rejected": ServiceRefused,
    "not_imds": ServiceRefused,
    "unreachable": Unreachable,
    "service_unavailable": ServiceRefused,
    "refused": ServiceRefused,
    "invalid_response": ServiceRefused,
    "response_too_large": ServiceRefused,
    "redirect_not_allowed": ServiceRefused,
    "identity_not_found": ServiceRefused,
    "deadline_exceeded": DeadlineReached,
    "key_unavailable": KeyUnavailable,
    "key_too_weak": KeyUnavailable,
    "key_isolation_unavailable": KeyUnavailable,
    "key_failed": KeyUnavailable,
    "attestation_unavailable": AttestationFailed,
    "attestation_library_unusable": AttestationFailed,
    "attestation_failed": AttestationFailed,
    "simulated_not_allowed": BindingRefused,
    "endpoint_not_allowed": BindingRefused,
    "certificate_malformed": BindingRefused,
    "certificate_key_mismatch": BindingRefused,
    "certificate_not_valid": BindingRefused,
    "certificate_unusable": BindingRefused,
    "identity_mismatch": BindingRefused,
    "token_type_mismatch": BindingRefused,
    "token_not_bound": BindingRefused,
    "binding_mismatch": BindingRefused,
    "client_certificate_rejected": TlsFailed,
    "server_certificate_invalid": TlsFailed,
    "tls_failed": TlsFailed,
    "client_certificate_not_requested": TlsFailed,
    "body_too_large_for_renegotiation": TlsFailed,
    "bound_tokens_not_accepted": ResourceTakesNoBoundTokens,
    "tenant_not_eligible": ResourceTakesNoBoundTokens,
    "host_unsupported": KeyboundError,
}


def new_error(message: str, causes: Sequence[str], fields: dict[str, Any]) -> KeyboundError:
    """Called by the native module."""
    error = _CLASSES.get(fields["code"], KeyboundError)(message, **fields)
    effect: BaseException = error
    for text in causes:
        effect.__cause__ = ErrorCause(text)
        effect = effect.__cause__
    return error


def with_causes(error: KeyboundError) -> str:
    """The message with those of its causes, for exceptions of which programs show nothing else."""
    message, cause = str(error), error.__cause__
    while isinstance(cause, ErrorCause):
        message, cause = f"{message}: {cause}", cause.__cause__
    return message


def _new(kind: type[KeyboundError], arguments: tuple[object, ...]) -> KeyboundError:
    """An error without attributes. Its own are set afterwards, and those that a program added, such as notes."""
    error = kind.__new__(kind, *arguments)
    # `OSError` leaves them to `__init__`.
    error.args = arguments
    return error
