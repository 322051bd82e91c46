from __future__ import annotations

from collections.abc import Mapping

from keybound import _native
from keybound._arguments import check, check_optional, check_texts
from keybound._identity import KeyStrength, ManagedIdentity
from keybound._not_picklable import NotPicklable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class ClientBase(NotPicklable):
    """What the blocking and the async client share: the settings."""

    __slots__ = ("__weakref__", "_identity", "_imds_answered", "_native")
    _native: _native.Client
    _imds_answered: bool
    """Whether a credential has reached IMDS, for all credentials with this client."""

    def __init__(
        self,
        identity: ManagedIdentity | None = None,
        *,
        imds_endpoint: str | None = None,
        managed_identity_source: str | None = None,
        ca_pem: bytes | None = None,
        loopback_ca_pem: bytes | None = None,
        allowed_hosts: Sequence[str] | None = None,
        client_capabilities: Sequence[str] = (),
        proxy: str | None = None,
        no_proxy: str | None = None,
        tls_versions: Mapping[str, str] | None = None,
        retries: bool = True,
        store: bool = True,
        simulated: bool | None = None,
    ) -> None:
        """Creates a client. Nothing is opened or requested yet.

        Args:
            identity: the identity; by default the system-assigned one.
            imds_endpoint: the address of IMDS, a plain http URL; by default ``AZURE_POD_IDENTITY_AUTHORITY_HOST``, else
                Azure's.
            managed_identity_source: ``"imds"``, ``"app_service"``, ``"service_fabric"``, ``"azure_arc"``,
                ``"machine_learning"`` or ``"cloud_shell"``; by default the one that the environment shows.
            ca_pem: certificates of authorities that are trusted in addition to the system's, PEM. ``SSL_CERT_FILE``,
                ``REQUESTS_CA_BUNDLE`` and similar variables are not read.
            loopback_ca_pem: the same for hosts on loopback only. By default, if IMDS is on loopback, the file that
                ``KEYBOUND_CA_FILE`` names.
            allowed_hosts: the only hosts to which the endpoints that IMDS supplies may point: names, or ``*.domain``; by
                default any public https host.
            client_capabilities: such as ``"cp1"``, with which resources send claims challenges.
            proxy: the URL of an HTTP proxy, ``""`` for none; by default that of ``HTTPS_PROXY``, else the system's.
                Requests to managed identity sources never use a proxy.
            no_proxy: hosts that are reached without ``proxy``, in the format of ``NO_PROXY``.
            tls_versions: by host name ``"1.2"``, ``"1.3"`` or ``"1.2-1.3"``; by default 1.2 for Key Vault and Managed HSM,
                which request the certificate by renegotiation, and both for others.
            retries: whether failed attempts to IMDS and Entra are retried.
            store: whether certificates are stored for later processes (Windows).
            simulated: whether keys and their attestation are simulated, which only an emulator accepts. By default they are
                if the environment is that of ``keybound.emulator``: IMDS on loopback, ``KEYBOUND_CA_FILE`` and
                ``KEYBOUND_EMULATOR_VAULT`` set.

        Raises:
            InvalidRequest: if an argument is malformed.

        """
        check_optional("identity", identity, ManagedIdentity, "a ManagedIdentity, such as ManagedIdentity.client_id(…)")
        check_optional("imds_endpoint", imds_endpoint, str, "a str")
        check_optional("managed_identity_source", managed_identity_source, str, "a str")
        check_optional("ca_pem", ca_pem, bytes, "bytes: open the file with 'rb'")
        check_optional("loopback_ca_pem", loopback_ca_pem, bytes, "bytes: open the file with 'rb'")
        if allowed_hosts is not None:
            check_texts("allowed_hosts", allowed_hosts)
        check_texts("client_capabilities", client_capabilities)
        check_optional("proxy", proxy, str, "a str")
        check_optional("no_proxy", no_proxy, str, "a str, such as 'localhost,.internal'")
        check_optional("tls_versions", tls_versions, Mapping, "a mapping from host names to versions")
        check("retries", retries, bool, "a bool")
        check("store", store, bool, "a bool")
        check_optional("simulated", simulated, bool, "a bool")
        self._imds_answered = False
        self._identity = identity or ManagedIdentity.system_assigned()
        self._native = _native.Client(
            identity=(self._identity.kind, self._identity.id),
            imds_endpoint=imds_endpoint,
            managed_identity_source=managed_identity_source,
            ca_pem=ca_pem,
            loopback_ca_pem=loopback_ca_pem,
            allowed_hosts=allowed_hosts,
            client_capabilities=client_capabilities,
            proxy=proxy,
            no_proxy=no_proxy,
            tls_versions=dict(tls_versions or {}),
            retries=retries,
            store=store,
            simulated=simulated,
        )

    @property
    def identity(self) -> ManagedIdentity:
        """The identity of the tokens."""
        return self._identity

    @property
    def managed_identity_source(self) -> str:
        """The source of plain bearer tokens: the chosen one, else the one that the environment shows. No request is sent."""
        return self._native.managed_identity_source

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self._identity!r}>"


__all__ = ["ClientBase", "KeyStrength"]
