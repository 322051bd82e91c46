from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping

import keybound
from keybound.msal._errors import ManagedIdentityError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Union

    # An identity, the mapping of its JSON, or `None` for the system-assigned one.
    AnyManagedIdentity = Union["ManagedIdentity", Mapping[str, Any], None]
    _Members = UserDict[str, Optional[str]]
else:
    _Members = UserDict

ID_TYPE = "ManagedIdentityIdType"
ID = "Id"


class ManagedIdentity(_Members):
    """A managed identity as a mapping, which equals the dict of its JSON:
    ``{"ManagedIdentityIdType": "SystemAssigned", "Id": None}``, or with the type ``ClientId``, ``ObjectId`` or ``ResourceId``
    and the id.
    """

    ID_TYPE = ID_TYPE
    ID = ID
    CLIENT_ID = "ClientId"
    RESOURCE_ID = "ResourceId"
    OBJECT_ID = "ObjectId"
    SYSTEM_ASSIGNED = "SystemAssigned"

    def __init__(self, identifier: str | None = None, id_type: str | None = None) -> None:
        super().__init__({ID_TYPE: id_type, ID: identifier})

    @classmethod
    def is_managed_identity(cls, unknown: object) -> bool:
        """Whether it is a mapping with the members of a managed identity."""
        return cls.is_system_assigned(unknown) or cls.is_user_assigned(unknown)

    @classmethod
    def is_system_assigned(cls, unknown: object) -> bool:
        """Whether it is the system-assigned identity."""
        return isinstance(unknown, Mapping) and unknown.get(ID_TYPE) == cls.SYSTEM_ASSIGNED

    @classmethod
    def is_user_assigned(cls, unknown: object) -> bool:
        """Whether it is a user-assigned identity with an id."""
        if not isinstance(unknown, Mapping):
            return False
        id_type, identifier = unknown.get(ID_TYPE), unknown.get(ID)
        return isinstance(id_type, str) and id_type in _CONSTRUCTORS and isinstance(identifier, str) and identifier != ""


class SystemAssignedManagedIdentity(ManagedIdentity):
    """The system-assigned identity of this host."""

    def __init__(self) -> None:
        super().__init__(id_type=self.SYSTEM_ASSIGNED)


class UserAssignedManagedIdentity(ManagedIdentity):
    """A user-assigned identity, by one of its ids."""

    def __init__(self, *, client_id: str | None = None, resource_id: str | None = None, object_id: str | None = None) -> None:
        ids = {self.CLIENT_ID: client_id, self.RESOURCE_ID: resource_id, self.OBJECT_ID: object_id}
        given = [(id_type, identifier) for id_type, identifier in ids.items() if identifier]
        if len(given) != 1:
            raise ManagedIdentityError("You shall specify one of the three parameters: client_id, resource_id, object_id")
        [(id_type, identifier)] = given
        super().__init__(id_type=id_type, identifier=identifier)


def checked(identity: AnyManagedIdentity) -> Mapping[str, Any]:
    """The identity as a mapping.

    Raises:
        ManagedIdentityError: if its members are not those of a managed identity.

    """
    if identity is None:
        return SystemAssignedManagedIdentity()
    if not ManagedIdentity.is_managed_identity(identity):
        raise ManagedIdentityError(f"Incorrect managed_identity: {identity}")
    return identity


def to_keybound(identity: Mapping[str, Any]) -> keybound.ManagedIdentity:
    """The identity for a client of Keybound.

    Raises:
        keybound.InvalidRequest: if the id is malformed.

    """
    if ManagedIdentity.is_system_assigned(identity):
        return keybound.ManagedIdentity.system_assigned()
    return _CONSTRUCTORS[identity[ID_TYPE]](identity[ID])


def from_keybound(identity: keybound.ManagedIdentity) -> ManagedIdentity:
    """The mapping for the identity of a client of Keybound."""
    id_type = "".join(word.capitalize() for word in identity.kind.split("_"))
    return ManagedIdentity(identity.id, id_type)


_CONSTRUCTORS = {
    ManagedIdentity.CLIENT_ID: keybound.ManagedIdentity.client_id,
    ManagedIdentity.OBJECT_ID: keybound.ManagedIdentity.object_id,
    ManagedIdentity.RESOURCE_ID: keybound.ManagedIdentity.resource_id,
}
