"""Which addresses this host may call: public ones by https, and what the operator has allowed beside them.

Merchants and rails name addresses, and whoever names one could name our database, a metadata service or a neighbour's
router instead. One rule is asked twice: when an address is entered, and when it is connected to, with every address
its name stands for. docs/decisions/0029-one-rule-for-addresses.md says what follows from it.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Ip = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS = (443, 8443)  # of public hosts
MOST_CHARACTERS = 2048

# What no rail can be at: IANA's registries of special-purpose addresses (RFC 6890 and its updates), and 168.63.129.16,
# the one public address at which a cloud (Azure) answers its machines with what only they may know.
_NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            # Of the global unicast block: protocols (Teredo among them), documentation, and 6to4, which holds another.
            *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
        ),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # everything else in IPv6 is local, reserved, multicast, or holds another
_NAT64 = IPv6Network("64:ff9b::/96")
_LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
# Addresses that `check_shown` takes, for those who look before they send. It takes IPv6 in brackets too.
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_PORT = r"(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
_PLAIN_LABEL = r"[0-9A-Za-z_](?:[0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?"
SHOWN_PATTERN = (
    rf"^https?://(?:(?:{_PLAIN_LABEL}\.){{0,5}}[A-Za-z](?:[0-9A-Za-z_-]{{0,40}}[0-9A-Za-z_])?"
    rf"|{_BYTE}(?:\.{_BYTE}){{3}})(?::{_PORT})?(?:[/?#][!#-;=?-\[\]-~]*)?$"
)
# Names that mean something on this network alone (RFC 6761, RFC 6762, RFC 8375, and ICANN's .internal).
_LOCAL_NAMES = ("localhost", "localdomain", "local", "internal", "home.arpa", "lan", "intranet", "corp", "home")


class AddressRefused(ValueError):
    """This host does not call that address. The text says why and what to do, and quotes nothing but the host."""


@dataclass(frozen=True, slots=True)
class Place:
    """What an operator has allowed: where, at which port (None: any), and whether by plain http."""

    where: Network | str  # a network, or a host's name
    port: int | None
    plain: bool

    def holds(self, host: Ip | str, port: int, *, plain: bool) -> bool:
        """Tell whether this place is meant by a host and a port."""
        if self.port not in (None, port) or (plain and not self.plain):
            return False
        if isinstance(self.where, str) or isinstance(host, str):
            return self.where == host
        return host.version == self.where.version and host in self.where


def read_places(text: str) -> tuple[Place, ...]:
    """Return the places that an operator has listed, with commas between. Raises ValueError that names the wrong one.

    Each is `loopback`, or a host's name, an IP address or a network (IPv6 in brackets), perhaps with a :port behind it
    and, where plain http will do, http:// before it. Loopback needs no http://.
    """
    return tuple(place for part in text.split(",") if part.strip() for place in _places(part.strip().lower()))


def _places(written: str) -> tuple[Place, ...]:
    if written == "loopback":
        return tuple(Place(network, None, plain=True) for network in _LOOPBACK)
    plain = written.startswith("http://")
    found = re.fullmatch(r"(?:https?://)?(?:\[([^\[\]]+)\]|([^\[\]:]+))(?::([0-9]{1,5}))?", written)
    if found is None or (found[3] is not None and not 0 < int(found[3]) < 65_536):
        raise ValueError(f"{written[:80]!r} is no place: name a host, an address or a network, perhaps with :port")
    port = None if found[3] is None else int(found[3])
    try:
        network = ip_network(found[1] or found[2])
    except ValueError:
        if found[1] is not None or _NAME.fullmatch(found[2]) is None or _NUMBER.fullmatch(found[2].split(".")[-1]):
            raise ValueError(f"{written[:80]!r} is neither a host's name nor an address or a network") from None
        return (Place(found[2], port, plain),)
    here = any(network.version == one.version and network.subnet_of(one) for one in _LOOPBACK)  # type: ignore[arg-type]
    return (Place(network, port, plain or here),)


class Addresses:
    """The rule: what may be called."""

    def __init__(self, places: Iterable[Place] = (), also: Callable[[str, int], bool] = lambda ip, port: False) -> None:
        """also: asked about loopback addresses that `places` do not hold: allowed for as long as a trial lasts."""
        self._places = tuple(places)
        self._also = also

    def and_also(self, text: str) -> "Addresses":
        """Return this rule with more places, written as in read_places."""
        return Addresses((*self._places, *read_places(text)), self._also)

    def check_entered(self, address: object) -> None:
        """Check an address that somebody enters, to be called later: it must be whole and plain. Raises AddressRefused.

        What a name stands for is looked up when it is connected to, each time anew.
        """
        parts = _parts(address)
        if parts.query or parts.fragment:
            raise AddressRefused("give the address without a query and without a fragment")
        self.check(parts.scheme, parts.host, parts.port)

    def check(self, scheme: str, host: str, port: int) -> None:
        """Check where a message is about to go; of a name, as much as it says itself. Raises AddressRefused."""
        if scheme not in ("http", "https"):
            raise AddressRefused("give an address that begins with https://")
        plain, host = scheme == "http", host.lower()
        ip = literal(host)
        if ip is not None:
            self._check_ip(ip, port, plain=plain)
            return
        if self._allows(host, port, plain=plain):
            return
        if _is_here(host):
            if not any(self._allows(ip_address(here), port, plain=plain) for here in ("127.0.0.1", "::1")):
                raise _not_public(host, port)
            return
        if "." not in host or host.endswith(tuple(f".{name}" for name in _LOCAL_NAMES)):
            raise _not_public(host, port)
        _check_public(host, port, plain=plain)

    def check_resolved(self, host: str, ips: Collection[str], port: int) -> list[str]:
        """Return which addresses of a name may be connected to: all of them, or it raises AddressRefused.

        Of localhost some will do: it is both loopback addresses, and an operator allows one.
        """
        if self._allows(host.lower(), port, plain=False):
            return list(ips)
        good = [ip for ip in ips if self._is_good(_unwrapped(ip_address(ip.partition("%")[0])), port)]
        if not good or (len(good) < len(ips) and not _is_here(host.lower())):
            raise _not_public(host, port)
        return good

    def _is_good(self, ip: Ip, port: int) -> bool:
        return is_public(ip) or self._allows(ip, port, plain=False)

    def _check_ip(self, ip: Ip, port: int, *, plain: bool) -> None:
        ip = _unwrapped(ip)
        if self._allows(ip, port, plain=plain):
            return
        if not is_public(ip):
            raise _not_public(str(ip), port)
        _check_public(str(ip), port, plain=plain)

    def _allows(self, host: Ip | str, port: int, *, plain: bool) -> bool:
        if any(place.holds(host, port, plain=plain) for place in self._places):
            return True
        return not isinstance(host, str) and host.is_loopback and self._also(str(host), port)


PUBLIC = Addresses()
LOOPBACK = Addresses(read_places("loopback"))  # for trials: the public, and this machine


def check_shown(address: object) -> None:
    """Check an address that a payer's browser is sent to, and that we never call. Raises AddressRefused.

    It may be anywhere, on the payer's own machine too; it must be http or https and hold no user and no password.
    """
    _parts(address)


def is_public(ip: Ip) -> bool:
    """Tell whether an address is one of the public internet, at which a rail can be."""
    ip = _unwrapped(ip)
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL_UNICAST:
        return False
    return not any(ip.version == network.version and ip in network for network in _NOT_PUBLIC)


def literal(host: str) -> Ip | None:
    """Return the IP address that a host is, None for a name. Raises AddressRefused for what is neither.

    A number is an address however it is written, 2130706433, 0x7f.1 and 127.1 as well as 127.0.0.1; only the last,
    which everybody reads in the same way, is taken.
    """
    if ":" in host or _NUMBER.fullmatch(host.rstrip(".").split(".")[-1]):
        try:
            return ip_address(host)
        except ValueError:
            raise AddressRefused("write an IP address as four numbers with dots, or IPv6 in brackets") from None
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise AddressRefused(
            "write the host's name in lower-case letters, digits, hyphens and dots, without one at its end; "
            "other letters in the form that begins with xn--"
        )
    return None


@dataclass(frozen=True, slots=True)
class _Parts:
    scheme: str
    host: str
    port: int
    query: str
    fragment: str


def _parts(address: object) -> _Parts:
    """Take an address apart, refusing what two readers could take apart differently. Raises AddressRefused."""
    if not isinstance(address, str) or not 0 < len(address) <= MOST_CHARACTERS:
        raise AddressRefused(f"give an address as text of at most {MOST_CHARACTERS} characters")
    if not address.isascii() or not address.isprintable() or set(address) & set(' \\"<>'):
        raise AddressRefused("an address holds neither spaces nor control characters, and letters of ASCII alone")
    try:
        scheme, netloc, _, query, fragment = urlsplit(address)
        host, port = urlsplit(address).hostname, urlsplit(address).port
    except ValueError:
        raise AddressRefused("this cannot be read as an address") from None
    if scheme not in ("http", "https") or not address.lower().startswith(f"{scheme}://"):
        raise AddressRefused("give an address that begins with https://")
    if "@" in netloc:
        raise AddressRefused("give the address without a user and a password")
    if not host or netloc.endswith(":") or port == 0:
        raise AddressRefused("this address names no host, or no port behind its colon")
    literal(host)
    return _Parts(scheme, host, port or {"https": 443, "http": 80}[scheme], query, fragment)


def _unwrapped(ip: Ip) -> Ip:
    """Return the IPv4 address that an IPv6 one only carries, where what is sent to it arrives there."""
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped
        if ip in _NAT64:
            return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip


def _is_here(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _check_public(host: str, port: int, *, plain: bool) -> None:
    if plain:
        raise AddressRefused(f"{host} is called by https:// alone, never by http://")
    if port not in PORTS:
        ports = " or ".join(map(str, PORTS))
        raise AddressRefused(f"{host} is called at port {ports}, not {port}, unless your operator allows {host}:{port}")


def _not_public(host: str, port: int) -> AddressRefused:
    return AddressRefused(
        f"{host[:100]} is not an address of the public internet; give the rail's own, or ask your operator to allow "
        f"{host[:100]}:{port} (SLUICE_ALLOW_ADDRESSES)"
    )
