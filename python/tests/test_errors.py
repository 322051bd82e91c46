from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import RESOURCE

import keybound
from keybound import ManagedIdentityClient
from keybound._errors import _CLASSES

if TYPE_CHECKING:
    from keybound.emulator import Emulator


def test_errors_of_services(emulator: Emulator, client: ManagedIdentityClient) -> None:
    emulator.inject("token=aadsts:500011*1")
    with pytest.raises(keybound.ServiceRefused) as caught:
        client.acquire_token(RESOURCE)
    error = caught.value
    assert (error.code, error.stage, error.status) == ("refused", "token", 400)
    assert error.service["codes"] == [500011]
    assert error.service["correlation_id"]
    assert not error.retryable
    assert not error.deadline_reached
    assert not error.may_have_been_sent
    assert error.next_step
    assert "HTTP 400" in str(error)


def test_errors_are_builtin_ones_too(client: ManagedIdentityClient) -> None:
    unreachable = ManagedIdentityClient(imds_endpoint="http://127.0.0.1:1", retries=False)
    with pytest.raises(ConnectionError) as caught:
        unreachable.acquire_token(RESOURCE)
    assert isinstance(caught.value, keybound.Unreachable)
    assert caught.value.retryable
    assert caught.value.__cause__ is not None
    with pytest.raises(ValueError, match="resource"):
        client.acquire_token("no resource")


def test_refused_bindings(emulator: Emulator, client: ManagedIdentityClient) -> None:
    emulator.inject("token=other-cnf")
    with pytest.raises(keybound.BindingRefused) as caught:
        client.acquire_token(RESOURCE)
    assert caught.value.code == "binding_mismatch"


def test_resources_without_bound_tokens(emulator: Emulator, client: ManagedIdentityClient) -> None:
    emulator.inject("token=aadsts:392196")
    with pytest.raises(keybound.ResourceTakesNoBoundTokens):
        client.acquire_token(RESOURCE)


def test_hosts_without_imds_v2(emulator: Emulator, client: ManagedIdentityClient) -> None:
    emulator.inject("metadata=status:404")
    with pytest.raises(keybound.ImdsV2Unavailable):
        client.acquire_token(RESOURCE)
    # There is no fallback.
    assert set(emulator.counts()) == {"metadata"}


def test_errors_can_be_pickled() -> None:
    with pytest.raises(keybound.InvalidRequest) as caught:
        keybound.ManagedIdentity.client_id("x")
    pickled = pickle.loads(pickle.dumps(caught.value))
    assert type(pickled) is keybound.InvalidRequest
    assert (str(pickled), pickled.code, pickled.next_step) == (str(caught.value), "invalid_request", caught.value.next_step)


def test_copies_of_errors_have_what_programs_added() -> None:
    error = keybound.Unreachable("no connection", code="unreachable", stage="token", retryable=True)
    error.__dict__["__notes__"] = ["of the program"]
    error.attempt = 3  # type: ignore[attr-defined]
    for duplicate in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(duplicate) is keybound.Unreachable
        assert (str(duplicate), duplicate.args) == ("no connection", ("no connection",))
        assert duplicate.__dict__ == error.__dict__


def test_every_kind_of_error_has_a_class() -> None:
    source = Path(__file__).parents[2] / "crates/keybound-core/src/error/kind.rs"
    codes = set(re.findall(r'^ +[A-Z]\w+ = "(\w+)"', source.read_text(encoding="utf-8"), re.MULTILINE))
    assert codes
    assert codes == set(_CLASSES)
