"""The interface of ``msal-key-attestation``: attestation of KeyGuard keys by Microsoft's native library, on Windows.

The core of Keybound attests its own keys itself. Programs need this module only if they attest a key of their own, or pass
`create_attestation_provider` to `keybound.msal.msi_v2.obtain_token` as before.
"""

from keybound.key_attestation.attestation import create_attestation_provider, get_attestation_jwt

__all__ = ["create_attestation_provider", "get_attestation_jwt"]
