from __future__ import annotations

from enum import Enum

from keybound import _native


class KeyStrength(str, Enum):
    """How well a binding key is protected, weakest first. As a minimum it selects no key: the best key of the host is always
    used, and one below the minimum is an error.
    """

    SOFTWARE = "software"
    """In the memory of the process, or a software key container."""
    HARDWARE = "hardware"
    """In hardware: a TPM."""
    KEYGUARD = "keyguard"
    """Isolated by virtualization-based security (Windows KeyGuard)."""

    def __str__(self) -> str:
        return self.value


class ManagedIdentity:
    """A managed identity of this host: the system-assigned one, or a user-assigned one by one of its ids."""

    __slots__ = ("_id", "_kind")
    _kind: str
    _id: str | None

    def __init__(self) -> None:
        raise TypeError("create it by system_assigned(), client_id(), object_id() or resource_id()")

    @staticmethod
    def system_assigned() -> ManagedIdentity:
        """The system-assigned identity."""
        return ManagedIdentity._new("system_assigned", None)

    @staticmethod
    def client_id(id: str) -> ManagedIdentity:
        """A user-assigned identity by its client id, a GUID.

        Raises:
            InvalidRequest: if it is not a GUID.

        """
        return ManagedIdentity._new("client_id", id)

    @staticmethod
    def object_id(id: str) -> ManagedIdentity:
        """A user-assigned identity by the object id of its principal, a GUID.

        Raises:
            InvalidRequest: if it is not a GUID.

        """
        return ManagedIdentity._new("object_id", id)

    @staticmethod
    def resource_id(id: str) -> ManagedIdentity:
        """A user-assigned identity by its resource id, ``/subscriptions/…``.

        Raises:
            InvalidRequest: if it does not begin with a slash.

        """
        return ManagedIdentity._new("resource_id", id)

    @staticmethod
    def _new(kind: str, id: str | None) -> ManagedIdentity:
        _native.check_identity(kind, id)
        identity = object.__new__(ManagedIdentity)
        identity._kind, identity._id = kind, id
        return identity

    @property
    def kind(self) -> str:
        """``"system_assigned"``, ``"client_id"``, ``"object_id"`` or ``"resource_id"``."""
        return self._kind

    @property
    def id(self) -> str | None:
        """The id; ``None`` for the system-assigned identity."""
        return self._id

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ManagedIdentity):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, str | None]:
        is_guid = self._kind in ("client_id", "object_id")
        return self._kind, self._id.lower() if is_guid and self._id else self._id

    def __repr__(self) -> str:
        return f"ManagedIdentity.{self._kind}({self._id!r})" if self._id else f"ManagedIdentity.{self._kind}()"

    def __reduce__(self) -> tuple[object, ...]:
        return ManagedIdentity._new, (self._kind, self._id)
