from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def thumbprint(certificate: bytes | str) -> str:
    """The SHA-256 thumbprint of a certificate as in ``x5t#S256`` (RFC 8705): base64url without padding, 43 characters.

    Args:
        certificate: DER, or text in PEM, whose first certificate counts.

    Raises:
        ValueError: if there is none.

    """
    from base64 import urlsafe_b64encode
    from hashlib import sha256

    return urlsafe_b64encode(sha256(_der(certificate)).digest()).rstrip(b"=").decode()


def verify_binding(token: str, certificate: bytes | str) -> bool:
    """Whether a token is bound to a certificate: its claim ``cnf`` has the certificate's thumbprint. The signature of the token
    is not verified. ``False`` for anything that is not such a token or certificate.

    Args:
        token: a JWT.
        certificate: DER, or text in PEM.

    """
    from hmac import compare_digest

    try:
        claimed = _claims(token)["cnf"]["x5t#S256"]
        return compare_digest(claimed.encode(), thumbprint(certificate).encode())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _claims(token: str) -> Any:
    from base64 import b64decode
    from json import loads

    _, payload, _ = token.split(".")
    payload = payload.rstrip("=")
    text = b64decode(payload + "=" * (-len(payload) % 4), altchars=b"-_", validate=True)
    return loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of two members with one name, the resource may read the other."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate name")
    return members


def _der(certificate: bytes | str) -> bytes:
    if isinstance(certificate, str):
        certificate = certificate.encode()
    elif _is_sequence(certificate):
        return certificate
    from base64 import b64decode

    _, begin, rest = certificate.partition(b"-----BEGIN CERTIFICATE-----")
    body, end, _ = rest.partition(b"-----END CERTIFICATE-----")
    if not begin or not end:
        raise ValueError("not a certificate in DER or PEM")
    return b64decode(b"".join(body.split()), validate=True)


def _is_sequence(value: bytes) -> bool:
    """Whether it is one SEQUENCE in DER and nothing else. Its first byte alone is also the digit 0 of a text."""
    if len(value) < 2 or value[0] != 0x30:
        return False
    octets = max(0, value[1] - 0x80)
    length = int.from_bytes(value[2 : 2 + octets], "big") if octets else value[1]
    return len(value) == 2 + octets + length
