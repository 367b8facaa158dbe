"""Every special-purpose block is refused, in every form that carries it, and its neighbours are not."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.outbound import addresses


def listed(text: str) -> list[str]:
    return text.split()


# Typed in again from the IANA registries, not taken from the code under test.
REFUSED_IPV4 = listed("""
0.0.0.0 0.255.255.255 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.1.2.3
127.255.255.255 168.63.129.16 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.8
192.0.0.9 192.0.0.10 192.0.0.170 192.0.0.192 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.1
192.168.255.255 192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 233.252.0.1 239.255.255.255
240.0.0.1 255.255.255.254 255.255.255.255
""")
REFUSED_IPV6 = listed("""
:: ::1 ::2 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1
64:ff9b::a9fe:a9fe 64:ff9b::8.8.8.8 64:ff9b:1::1 64:ff9b:1:ffff::7f00:1 100::1 100:0:0:1::1 200::1 400::1 1000::1
2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:1::1 2001:2::1 2001:3::1 2001:4:112::1 2001:10::1 2001:20::1
2001:30::1 2001:db8::1 2001:db8:ffff::1 2002:7f00:1::1 2002:a9fe:a9fe::1 2002:808:808::1 2620:4f:8000::1
3fff::1 3fff:fff::1 4000::1 5f00::1 8000::1 fc00::1 fd00::1 fd00:ec2::254 fd20:ce::254 fe80::1 fe80::a9fe:a9fe febf::1
fec0::1 feff::1 ff00::1 ff02::1 ff05::1:3 ff0e::1 2a00:1450:4001::5efe:7f00:1 2a00:1450:4001::200:5efe:a00:1
""")
PUBLIC = listed("""
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15
168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0
192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 203.0.112.255 203.0.114.0 223.255.255.255
2000::1 2001:200::1 2001:4860:4860::8888 2001:db7:ffff::1 2001:db9::1 2003::1 2606:4700:4700::1111 2620:4f:7fff::1
2a00:1450:4001:80f::200e 3ffe::1 3fff:1000::1 3fff:ffff::1
""")

ipv4_integers = st.one_of(
    st.integers(0, 2**32 - 1),
    st.sampled_from(addresses.SPECIAL_IPV4).flatmap(
        lambda network: st.integers(int(network.network_address), int(network.broadcast_address))
    ),
)


@pytest.mark.parametrize("address", REFUSED_IPV4 + REFUSED_IPV6)
def test_an_address_of_a_special_purpose_block_is_not_public(address: str) -> None:
    assert not addresses.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_beside_a_special_purpose_block_is_public(address: str) -> None:
    assert addresses.is_public(ipaddress.ip_address(address))


@settings(max_examples=1000, deadline=None)
@given(st.one_of(st.ip_addresses(), ipv4_integers.map(ipaddress.IPv4Address)))
def test_what_the_standard_library_knows_to_be_special_is_never_public(address: ipaddress.IPv4Address) -> None:
    special = not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified
    if special or address.is_private or address.is_loopback or address.is_link_local:
        assert not addresses.is_public(address)


@settings(max_examples=1000, deadline=None)
@given(ipv4_integers)
def test_an_ipv4_address_carried_by_an_ipv6_address_is_never_public(number: int) -> None:
    carriers = {
        "compatible": number,
        "mapped": 0xFFFF << 32 | number,
        "translated": 0xFFFF << 48 | number,
        "NAT64": 0x64FF9B << 96 | number,
        "local NAT64": 0x64FF9B0001 << 80 | number,
        "6to4": 0x2002 << 112 | number << 80 | 1,
        "Teredo": 0x20010000 << 96 | number ^ 0xFFFF_FFFF,
        "Teredo server": 0x20010000 << 96 | number << 64,
        "ISATAP": 0x2A00_1450 << 96 | 0x5EFE << 32 | number,
        "global ISATAP": 0x2A00_1450 << 96 | 0x200_5EFE << 32 | number,
    }
    for form, value in carriers.items():
        assert not addresses.is_public(ipaddress.IPv6Address(value)), form
