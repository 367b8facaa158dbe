"""Where this installation may send to: the public Internet and what its operator allows, never itself."""

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from yarl import URL

from runtime.outbound import addresses
from runtime.outbound.errors import AddressRefusedError, InvalidUrlError
from runtime.settings import Settings, SettingsError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL_LENGTH = 2048
MAX_HOST_LENGTH = 253

# Ports below 1024 other than HTTP's own belong to protocols that a POST can speak by accident (SMTP, FTP …), and so
# do these, which the Fetch standard ("bad ports") keeps from browsers for the same reason.
BAD_PORTS = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
)

_OWN = "The address is this installation's own."
_NOT_PUBLIC = "The host leads to an address that may not be reached."

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# The WHATWG URL standard: a host whose last label is a number is an IPv4 address, however it is spelled.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class Allowed(NamedTuple):
    """A network that may be reached although it is not public, on one port or on all (0)."""

    network: Network
    port: int = 0

    def holds(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> bool:
        return address in self.network and self.port in {0, port}


class Policy:
    """`allow`: what may be reached although it is not public. `own_hosts`: `host` or `host:port` of this
    installation, refused before anything else; without a port, all ports. An own name is compared as a name: another
    name that leads here is met by our own refusal of requests that carry our `CDN-Loop`.
    """

    def __init__(self, *, allow: Iterable[Allowed] = (), own_hosts: Iterable[str] = ()) -> None:
        self._allow = tuple(allow)
        self._own = frozenset(_host_and_port(host) for host in own_hosts)
        # A policy never changes, so neither do its answers; every delivery asks for the same few.
        self._checked = functools.lru_cache(maxsize=1024)(self._check)
        self._refusal = functools.lru_cache(maxsize=4096)(self._judge)

    def check_url(self, text: str, *, https_only: bool = False) -> URL:
        """The URL as it will be dialled. Asks no name server: what a name leads to is checked when it is dialled.

        Raises InvalidUrlError, or AddressRefusedError where the URL itself names the address.
        """
        return self._checked(text, https_only)

    def check_address(self, address: str, port: int) -> None:
        """Asked for each address as it is dialled, and for the peer of each connection. Raises AddressRefusedError."""
        if refusal := self._refusal(address, port):
            raise AddressRefusedError(refusal)

    def _check(self, text: str, https_only: bool) -> URL:
        url = _parse(text)
        if url.scheme != "https" and (https_only or url.scheme != "http"):
            raise InvalidUrlError("The URL must begin with https://." if https_only else "The URL must be http(s).")
        if url.raw_user is not None or url.raw_password is not None:
            raise InvalidUrlError("The URL must not carry a user name or a password.")
        host, port = url.raw_host or "", url.port or 0
        if not (port in {80, 443} or port >= 1024) or port in BAD_PORTS:
            raise InvalidUrlError("The port must be 80, 443, or above 1023 and not another protocol's.")
        if literal := _literal(host):
            self.check_address(literal, port)
        else:
            self._check_name(host.removesuffix("."), port)
        return url

    def _check_name(self, name: str, port: int) -> None:
        if not name or len(name) > MAX_HOST_LENGTH or not all(map(_LABEL.fullmatch, name.split("."))):
            raise InvalidUrlError("The host is not a valid name.")
        if self._is_own(name, port):
            raise AddressRefusedError(_OWN)
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 §6.3
            self.check_address("127.0.0.1", port)

    def _judge(self, address: str, port: int) -> str:
        if self._is_own(address, port):
            return _OWN
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:  # not what a name server should answer
            return _NOT_PUBLIC
        if addresses.is_public(parsed) or any(each.holds(parsed, port) for each in self._allow):
            return ""
        return _NOT_PUBLIC

    def _is_own(self, host: str, port: int) -> bool:
        return (host, port) in self._own or (host, 0) in self._own


def networks(text: str) -> tuple[Allowed, ...]:
    """`10.1.0.0/16, fd00::/8, 127.0.0.1/32:9000` as ATELIER_OUTBOUND_ALLOW has it. Raises SettingsError."""
    try:
        return tuple(_allowed(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"ATELIER_OUTBOUND_ALLOW: {error}") from None


def _allowed(text: str) -> Allowed:
    """A port stands behind the length of the prefix: elsewhere a colon may be IPv6's own. Raises ValueError."""
    address, slash, rest = text.partition("/")
    length, colon, port = rest.partition(":")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise ValueError(f"{port!r:.20} is not a port")
    return Allowed(ipaddress.ip_network(address + slash + length), int(port or 0))


def policy(settings: Settings) -> Policy:
    """An operator's policy: what the settings allow, and never the API or the operator API of this installation."""
    served = ["127.0.0.1", "::1", "0.0.0.0", "::"] if settings.host in {"0.0.0.0", "::"} else [settings.host]
    hosts = [f"[{host}]" if ":" in host else host for host in served]
    listening = [f"{host}:{port}" for host in hosts for port in (settings.port, settings.operator_port)]
    return Policy(allow=networks(settings.outbound_allow), own_hosts=[URL(settings.public_url).authority, *listening])


def _parse(text: str) -> URL:
    if len(text) > MAX_URL_LENGTH:
        raise InvalidUrlError(f"The URL is longer than {MAX_URL_LENGTH} characters.")
    if _FORBIDDEN.search(text):
        raise InvalidUrlError("The URL must not contain spaces, control characters or backslashes.")
    try:
        return URL(text)
    except (ValueError, IndexError):  # yarl answers `http://[]@` with IndexError
        raise InvalidUrlError from None


def _literal(host: str) -> str:
    """The address that `host` spells, or '' for a name. IDNA has been applied: full-width digits are digits here.

    Octal, hexadecimal, short and decimal forms are refused rather than read, since readers differ on them.
    """
    looks_numeric = ":" in host or _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2])
    if not looks_numeric:
        return ""
    try:
        return str(ipaddress.ip_address(host.replace("%", "/")))  # a zone is refused too
    except ValueError:
        raise InvalidUrlError("The host is not an address in its usual form.") from None


def _host_and_port(host: str) -> tuple[str, int]:
    url = URL(f"//{host}")
    name = (url.raw_host or "").removesuffix(".")
    return _literal(name) or name, url.explicit_port or 0
