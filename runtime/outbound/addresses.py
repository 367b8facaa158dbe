"""Which addresses lie on the public Internet. Pure; the standard library's `is_global` is not enough.

Sources: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and its updates), RFC 5771, RFC 1112 §4.
`ipaddress` (3.11) calls public, among others, NAT64 and 6to4 forms of private addresses, multicast and fec0::/10.
"""

import ipaddress

SPECIAL_IPV4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; also Alibaba Cloud's metadata, 100.100.100.200
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host agent, on an otherwise public address
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocol assignments; Oracle Cloud's metadata, 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # class E and broadcast
    )
)

# Whatever lies outside is refused with no further question: ::, ::1, ::a.b.c.d, ::ffff:a.b.c.d, 64:ff9b::/96 and
# 64:ff9b:1::/48 (NAT64), 100::/64, 5f00::/16, fc00::/7, fe80::/10, fec0::/10, ff00::/8, and what is unassigned.
GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")

SPECIAL_IPV6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocol assignments: Teredo, benchmarking, ORCHID, AMT, AS112 …
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries an IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)

# ISATAP (RFC 5214 §6.1): an interface identifier that carries an IPv4 address, under any prefix.
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in SPECIAL_IPV4)
    if address not in GLOBAL_IPV6 or any(address in network for network in SPECIAL_IPV6):
        return False
    return (int(address) >> 32) & 0xFFFF_FFFF not in _ISATAP
