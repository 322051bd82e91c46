from __future__ import annotations

from keybound._identity import KeyStrength

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from keybound._errors import KeyboundError


class Capabilities:
    """What a host can do for a client, found without a key and a token. What is missing has the error of a request for it.
    See docs/capabilities.md.
    """

    source: str
    """The managed identity source, as in `ManagedIdentityClient.managed_identity_source`."""
    source_reason: str
    """Why it is the source: ``"chosen"``, ``"imds_endpoint"``, ``"variables"``, ``"azure_arc_agent"`` or ``"default"``."""
    source_variables: list[str]
    """The names of the environment variables that show the source."""
    source_error: KeyboundError | None
    """The error of every request to the source, if one of its variables is missing or malformed."""
    imds_v1: bool | None
    """Whether IMDS issues plain bearer tokens; ``None`` if another source is used, or that is not known."""
    imds_v2: bool | None
    """Whether IMDS issues certificates; ``None`` if another source is used, v2 is disabled, or that is not known."""
    imds_v2_disabled: bool
    """Whether ``MSAL_MI_DISABLE_IMDS_V2`` disables v2: nothing is then bound."""
    imds_error: KeyboundError | None
    """Why a version of IMDS is not known."""
    operating_system: str
    """``"windows"``, ``"linux"`` or ``"other"``: as IMDS states it, otherwise that of this program."""
    security_type: str | None
    """Such as ``"TrustedLaunch"``; ``None`` if IMDS did not state one."""
    secure_boot: bool | None
    """Whether Secure Boot is on, as IMDS states it."""
    virtual_tpm: bool | None
    """Whether there is a virtual TPM, as IMDS states it."""
    security_error: KeyboundError | None
    """Why IMDS did not state operating system and security settings, if it was asked."""
    strongest_key: KeyStrength | None
    """The strongest binding key that this host is known to have, whether or not tokens can be bound to it."""
    simulated_key: bool
    """Whether that key is simulated."""
    strongest_binding: KeyStrength | None
    """The strongest binding of a token; ``None`` if this host issues plain bearer tokens only, or no tokens. IMDS may reject
    certificates for weaker keys than attested KeyGuard keys, which only a token request shows."""
    why_not_stronger: KeyboundError | None
    """Why there is no stronger binding; ``None`` if it is KeyGuard."""
    attestation: str
    """``"none"``, ``"simulated"``, ``"library"`` or ``"no_library"``: whether the attestation library exists."""
    attestation_library: str | None
    """The file of the attestation library."""
    attestation_error: KeyboundError | None
    """Why there is no attestation library."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.__dict__.update(facts)
        for name in ("strongest_key", "strongest_binding"):
            if facts[name] is not None:
                setattr(self, name, KeyStrength(facts[name]))

    def __repr__(self) -> str:
        return f"<keybound.Capabilities source={self.source} imds_v2={self.imds_v2} strongest_binding={self.strongest_binding}>"
