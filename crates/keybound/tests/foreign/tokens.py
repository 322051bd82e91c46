"""Access tokens: JWTs signed with ES256, bound to a certificate as in RFC 8705 section 3.1."""

import base64
import hashlib
import json
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from pki import new_ec_key


class TokenSigner:
    def __init__(self):
        self._key = new_ec_key()

    def sign(self, claims):
        head = encode_json({"typ": "JWT", "alg": "ES256", "kid": "1"})
        signed = f"{head}.{encode_json(claims)}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def verify(self, token):
        """The claims of a token that this signer signed and that is valid now; ValueError otherwise."""
        signed, _, signature = token.rpartition(".")
        raw = decode(signature)
        pair = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        try:
            self._key.public_key().verify(pair, signed.encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise ValueError("the signature is invalid") from error
        claims = json.loads(decode(signed.split(".")[1]))
        if not claims["nbf"] <= time.time() < claims["exp"]:
            raise ValueError("the token is expired or not yet valid")
        return claims


def x5t_s256(certificate_der):
    return encode(hashlib.sha256(certificate_der).digest())


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode_json(value):
    return encode(json.dumps(value, separators=(",", ":")).encode())
