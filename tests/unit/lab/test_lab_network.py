"""The lab's subnet: free, the same each time, and different from other labs'."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import network
from toolchain.steps import StepFailed

_identities = st.integers(0, 2**32 - 1).map("{:08x}".format)
_subnets = st.integers(0, 2**14 - 1).map(lambda n: IPv4Network((int(network.POOL.network_address) + 8 * n, 29)))


@given(_identities, st.lists(_subnets, max_size=20))
def test_choice_is_free_and_in_the_pool(identity: str, taken: list[IPv4Network]) -> None:
    subnet = network.choose(identity, taken).subnet
    assert subnet.subnet_of(network.POOL)
    assert not any(subnet.overlaps(other) for other in taken)
    assert subnet == network.choose(identity, taken).subnet


@given(_identities)
def test_next_one_is_taken_when_the_first_is_in_use(identity: str) -> None:
    first = network.choose(identity, [])
    assert network.choose(identity, [first.subnet]).subnet != first.subnet


def test_addresses_are_distinct_and_usable() -> None:
    found = network.choose("00000000", [])
    addresses = {found.machine, found.node, found.internet}
    assert len(addresses) == 3
    assert addresses <= set(found.subnet.hosts())


def test_full_pool_is_said() -> None:
    with pytest.raises(StepFailed, match=r"Every /29 of 198\.18\.0\.0/15 is in use"):
        network.choose("0", [network.POOL])
