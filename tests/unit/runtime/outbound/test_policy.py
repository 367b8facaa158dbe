"""What is refused from the URL alone, before any name is looked up."""

import contextlib
import ipaddress
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import outbound
from runtime.outbound import addresses
from runtime.settings import SettingsError, load

POLICY = outbound.Policy()
FULL_WIDTH = str.maketrans("0123456789.", "０１２３４５６７８９。")
CIRCLED = str.maketrans("0123456789", "⓪①②③④⑤⑥⑦⑧⑨")


def spellings(address: ipaddress.IPv4Address) -> list[str]:
    """The forms that one resolver, browser or library or another takes for this address."""
    number, octets = int(address), address.packed
    a, b, c, d = octets
    dotted = str(address)
    return [
        dotted,
        f"{dotted}.",
        str(number),
        f"0{number:o}",
        hex(number),
        hex(number).upper(),
        f"0x{number:012x}",
        ".".join(f"0{octet:o}" for octet in octets),
        ".".join(hex(octet) for octet in octets),
        ".".join(f"{octet:03}" for octet in octets),
        f"{a}.{b}.{c << 8 | d}",
        f"{a}.{b << 16 | c << 8 | d}",
        f"{a:#x}.{b}.0{c:o}.{d}",
        dotted.translate(FULL_WIDTH),
        dotted.translate(CIRCLED),
        dotted.replace(".", "%2e"),
        "".join(f"%{byte:02x}" for byte in dotted.encode()),
        f"[::{dotted}]",
        f"[::ffff:{dotted}]",
        f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]",
        f"[0:0:0:0:0:FFFF:{dotted}]",
        f"[64:ff9b::{dotted}]",
        f"[64:ff9b:1::{dotted}]",
        f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]",
        f"[::ffff:{dotted}%25eth0]",
    ]


special_ipv4 = st.sampled_from(addresses.SPECIAL_IPV4).flatmap(
    lambda network: st.integers(int(network.network_address), int(network.broadcast_address)).map(ipaddress.IPv4Address)
)


@settings(max_examples=400, deadline=None)
@given(special_ipv4, st.sampled_from(["http://{}/", "https://{}:8443/hook?a=b#c", "http://{}", "HTTPS://{}/"]))
def test_no_spelling_of_an_inner_address_passes(address: ipaddress.IPv4Address, shape: str) -> None:
    for host in spellings(address):
        with pytest.raises((outbound.AddressRefusedError, outbound.InvalidUrlError)):
            POLICY.check_url(shape.format(host))


@settings(max_examples=1000, deadline=None)
@given(st.text("0123456789.:xXabcdefABCDEF[]%@-_／。\u00ad\u200b", min_size=1, max_size=24))
def test_whatever_passes_is_a_name_or_a_public_address_to_the_system_too(host: str) -> None:
    try:
        url = POLICY.check_url(f"http://{host}/")
    except outbound.OutboundError:
        return
    assert url.raw_host
    try:
        found = socket.getaddrinfo(url.raw_host, url.port, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return
    assert all(addresses.is_public(ipaddress.ip_address(str(address[0]))) for *_, address in found)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_either_accepted_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://example.com/{text}"):
        with contextlib.suppress(outbound.OutboundError):
            POLICY.check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/in?token=1",
        "http://example.com:8080",
        "https://EXAMPLE.com./",
        "https://bücher.example/",
        "https://under_score.example.com/",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]:8443/",
        "https://1password.example/",
        "https://0x.example/",
    ],
)
def test_an_ordinary_public_url_is_accepted(url: str) -> None:
    assert POLICY.check_url(url).raw_host


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "unix:///var/run/docker.sock",
        "javascript:alert(1)",
        "http:example.com",
        "http://",
        "http:///path",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://:password@example.com/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com /",
        "https://exa\tmple.com/",
        "https://example.com/\r\nHost: other",
        "https://example.com:0/",
        "https://example.com:22/",
        "https://example.com:25/",
        "https://example.com:6667/",
        "https://example.com:65536/",
        "https://example.com:port/",
        "https://a..example.com/",
        "https://-.example.com/",
        "https://%65xample.com/",
        "https://[fe80::1%25eth0]/",
        "https://[2606:4700:4700::1111%25eth0]/",
        "https://256.1.1.1/",
        "https://1.2.3/",
        "https://8.8.8.8./",
        "https://010.8.8.8/",
        "https://example.0x7f/",
        f"https://{'a' * 64}.example/",
        f"https://{'a.' * 130}example/",
        f"https://example.com/{'a' * 2048}",
    ],
)
def test_a_malformed_or_foreign_url_is_refused(url: str) -> None:
    with pytest.raises(outbound.InvalidUrlError):
        POLICY.check_url(url)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "app.localhost", "ⓛocalhost"])
def test_localhost_is_refused_without_a_look_up(host: str) -> None:
    with pytest.raises(outbound.AddressRefusedError):
        POLICY.check_url(f"http://{host}/")


def test_https_is_demanded_where_the_caller_demands_it() -> None:
    assert POLICY.check_url("https://example.com/", https_only=True)
    with pytest.raises(outbound.InvalidUrlError, match="https"):
        POLICY.check_url("http://example.com/", https_only=True)


def test_an_allowed_network_may_be_reached_and_only_that() -> None:
    policy = outbound.Policy(allow=outbound.networks("127.0.0.0/8, fd00:1::/32"))
    for allowed in ("127.0.0.1", "127.9.9.9", "[fd00:1::5]", "localhost"):
        policy.check_url(f"http://{allowed}:9000/")
    for refused in ("10.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "[fd00:2::5]", "0.0.0.0"):
        with pytest.raises(outbound.AddressRefusedError):
            policy.check_url(f"http://{refused}:9000/")


def test_a_network_may_be_allowed_on_one_port_alone() -> None:
    policy = outbound.Policy(allow=outbound.networks("127.0.0.1/32:40123, fd00:1::/32:9000"))
    for allowed in ("127.0.0.1:40123", "localhost:40123", "[fd00:1::5]:9000"):
        policy.check_url(f"http://{allowed}/")
    for refused in ("127.0.0.1:40124", "127.0.0.2:40123", "[fd00:1::5]:40123"):
        with pytest.raises(outbound.AddressRefusedError):
            policy.check_url(f"http://{refused}/")


def test_this_installation_is_refused_by_every_name_it_goes_by() -> None:
    policy = outbound.Policy(
        allow=outbound.networks("127.0.0.0/8"), own_hosts=["api.example.com", "bücher.example:8443", "127.0.0.1:8000"]
    )
    own = (
        "api.example.com",
        "API.example.com.",
        "api.example.com:8443",
        "xn--bcher-kva.example:8443",
        "localhost:8000",
    )
    for host in (*own, "127.0.0.1:8000", "BÜCHER.example:8443"):
        with pytest.raises(outbound.AddressRefusedError, match="own"):
            policy.check_url(f"https://{host}/")
    for host in ("sub.api.example.com", "xn--bcher-kva.example", "127.0.0.1:9000"):
        policy.check_url(f"https://{host}/")


def test_the_settings_make_the_policy() -> None:
    given = load({"ATELIER_PUBLIC_URL": "https://api.example.com", "ATELIER_OUTBOUND_ALLOW": "127.0.0.0/8"})
    policy = outbound.policy(given)
    policy.check_url("http://127.0.0.1:9000/")
    for own in ("https://api.example.com/", "http://127.0.0.1:8000/", "http://127.0.0.1:8001/"):
        with pytest.raises(outbound.AddressRefusedError, match="own"):
            policy.check_url(own)


def test_an_installation_that_listens_everywhere_refuses_its_ports_on_loopback() -> None:
    policy = outbound.policy(load({"ATELIER_HOST": "0.0.0.0", "ATELIER_OUTBOUND_ALLOW": "127.0.0.0/8,::1/128"}))
    for own in ("127.0.0.1:8001", "[::1]:8000", "localhost:8001"):
        with pytest.raises(outbound.AddressRefusedError, match="own"):
            policy.check_url(f"http://{own}/")


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1/8", "10.0.0.0/33", "example.com", "10.0.0.0/8:", "10.0.0.0/8:http", "10.0.0.0/8:0", "::/0:65536"],
)
def test_a_malformed_allow_list_stops_the_start_and_names_the_setting(text: str) -> None:
    with pytest.raises(SettingsError, match="ATELIER_OUTBOUND_ALLOW"):
        outbound.networks(text)
