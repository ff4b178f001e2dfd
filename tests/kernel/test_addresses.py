"""What may be called: written in any way, it is what it stands for that counts."""

from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.addresses import (
    LOOPBACK,
    MOST_CHARACTERS,
    PUBLIC,
    Addresses,
    AddressRefused,
    check_shown,
    is_public,
    read_places,
)

GOOD = [
    "https://api.mch.weixin.qq.com",
    "https://api.mch.weixin.qq.com/",
    "HTTPS://API.Stripe.com",
    "https://gateway.95516.com:443",
    "https://rail.example:8443/some/path",
    "https://xn--fiq228c.example",
    "https://9.9.9.9",
    "https://[2606:4700:4700::1111]:8443",
    "https://a_b.example",
]

NOT_OURS_TO_CALL = [
    # loopback, in every spelling
    *("http://127.0.0.1:8410", "https://127.0.0.1", "https://127.8.9.1", "https://127.1", "https://127.0.1"),
    *("https://2130706433", "https://0x7f000001", "https://0x7f.0.0.1", "https://0177.0.0.1", "https://017700000001"),
    *("https://127.0.0.01", "https://0", "https://0.0.0.0", "https://[::]", "https://[::1]", "https://127.0.0.1."),
    *("https://[::ffff:127.0.0.1]", "https://[::ffff:7f00:1]", "https://[::127.0.0.1]", "https://[0:0:0:0:0:0:0:1]"),
    *("https://[64:ff9b::127.0.0.1]", "https://[64:ff9b::a9fe:a9fe]", "https://[2002:7f00:1::]", "https://[2001::1]"),
    *(
        "https://localhost",
        "https://LOCALHOST",
        "https://localhost.",
        "https://sub.localhost",
        "https://localhost:8443",
    ),
    # metadata services, link-local, carriers' NAT, private, unique local, site-local
    *("https://169.254.169.254", "https://[fe80::1]", "https://[fe80::1%25eth0]", "https://[fd00:ec2::254]"),
    *("https://100.100.100.200", "https://100.64.0.1", "https://168.63.129.16", "https://192.0.0.192"),
    *("https://10.0.0.1", "https://172.16.0.1", "https://172.31.255.255", "https://192.168.1.1", "https://[fec0::1]"),
    *("https://metadata.google.internal", "https://db.local", "https://router.lan", "https://nas.home.arpa"),
    # reserved, documentation, benchmarks, multicast, broadcast
    *("https://192.0.2.1", "https://198.51.100.1", "https://203.0.113.1", "https://198.18.0.1", "https://224.0.0.1"),
    *(
        "https://240.0.0.1",
        "https://255.255.255.255",
        "https://[ff02::1]",
        "https://[2001:db8::1]",
        "https://[3fff::1]",
    ),
    # names without a dot are found on this network alone
    *("https://postgres", "https://gateway:8443"),
    # never by http, never at any port
    *("http://rail.example", "http://9.9.9.9", "https://rail.example:22", "https://rail.example:5432"),
    *("https://9.9.9.9:6379", "https://rail.example:80"),
]

NO_ADDRESSES = [
    *(
        "",
        " ",
        "rail.example",
        "//rail.example",
        "https:",
        "https://",
        "https:///path",
        "https:rail.example",
        "http:/x",
    ),
    *("ftp://rail.example", "file:///etc/passwd", "gopher://rail.example", "javascript:alert(1)", "unix:///run/x"),
    *("https://user@rail.example", "https://user:whisper@rail.example", "https://rail.example@127.0.0.1"),
    *("https://127.0.0.1@rail.example", "https://:@rail.example", "https://rail.example\\@127.0.0.1"),
    *("https://rail.example/\0", "https://rail.example\n", "https://rail\t.example", " https://rail.example"),
    *("https://rail.example\u3002com", "https://①②⑦.0.0.1", "https://ｌｏｃａｌｈｏｓｔ", "https://münchen.example"),
    *("https://[::1", "https://[127.0.0.1]", "https://]", "https://rail.example:", "https://rail.example:0"),
    *("https://rail.example:99999", "https://rail.example:x", "https://rail..example", "https://-rail.example"),
    *("https://rail.example.", "https://%6c%6f%63alhost", "https://127.0.0.1%2f", "https://rail.example:443:443"),
    *(
        "https://rail.example?x=1",
        "https://rail.example#x",
        "https://rail.example/?next=",
        "https://0x",
        "https://1.2.3",
    ),
    *("https://rail.example/" + "a" * MOST_CHARACTERS, "https://" + "a." * 130 + "example"),
]


@pytest.mark.parametrize("address", GOOD)
def test_a_public_host_is_called_by_https(address: str) -> None:
    PUBLIC.check_entered(address)
    LOOPBACK.check_entered(address)


@pytest.mark.parametrize("address", NOT_OURS_TO_CALL)
def test_what_is_not_of_the_public_internet_is_refused_with_what_to_do(address: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        PUBLIC.check_entered(address)
    assert any(word in str(refused.value) for word in ("operator", "https", "write")), str(refused.value)


@pytest.mark.parametrize("address", [*NO_ADDRESSES, None, 7, True, ["https://rail.example"], {"a": 1}, b"https://x.y"])
def test_what_is_no_address_is_refused_and_not_quoted(address: object) -> None:
    for rule in (PUBLIC, LOOPBACK):
        with pytest.raises(AddressRefused) as refused:
            rule.check_entered(address)
        assert "whisper" not in str(refused.value)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_as_public_in_whatever_carries_it(ip: object) -> None:
    mapped, translated = ip_address(f"::ffff:{ip}"), ip_address(f"64:ff9b::{ip}")
    assert is_public(mapped) == is_public(translated) == is_public(ip_address(str(ip)))
    assert not is_public(ip_address(f"::{ip}"))


@given(st.ip_addresses())
def test_what_python_calls_special_is_never_public(ip: object) -> None:
    found = ip_address(str(ip))
    if found.is_private or found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified:
        assert not is_public(found) or getattr(found, "ipv4_mapped", None) is not None


@pytest.mark.parametrize(
    ("ips", "good"),
    [
        (["9.9.9.9"], True),
        (["9.9.9.9", "2606:4700::1"], True),
        (["9.9.9.9", "127.0.0.1"], False),
        (["10.0.0.1"], False),
        (["2606:4700::1", "fe80::1%eth0"], False),
        (["9.9.9.9", "169.254.169.254"], False),
        (["::ffff:10.0.0.1"], False),
        ([], False),
    ],
)
def test_a_name_is_called_only_where_all_that_it_stands_for_may_be(ips: Sequence[str], good: bool) -> None:
    if good:
        assert PUBLIC.check_resolved("rail.example", ips, 443) == ips
    else:
        with pytest.raises(AddressRefused):
            PUBLIC.check_resolved("rail.example", ips, 443)


# ---- what an operator allows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "good", "bad"),
    [
        ("127.0.0.1:8410", ["http://127.0.0.1:8410", "https://127.0.0.1:8410", "http://localhost:8410"],
         ["http://127.0.0.1:8411", "http://127.0.0.2:8410", "http://[::1]:8410", "http://127.0.0.1"]),
        ("loopback", ["http://127.0.0.1:1", "http://[::1]:8410", "http://localhost", "https://127.9.9.9"],
         ["http://10.0.0.1", "http://rail.example", "https://0.0.0.0"]),
        ("10.1.0.0/16", ["https://10.1.2.3", "https://10.1.2.3:9999"], ["http://10.1.2.3", "https://10.2.0.1"]),
        ("http://10.1.2.3:8080", ["http://10.1.2.3:8080", "https://10.1.2.3:8080"], ["http://10.1.2.3"]),
        ("bank.internal", ["https://bank.internal", "https://bank.internal:9"],
         ["http://bank.internal", "https://x.bank.internal"]),
        ("rail.example:9080", ["https://rail.example:9080", "https://rail.example"], ["https://rail.example:9081"]),
        (" http://sandbox:8410 , [fd00::/8]:443 ", ["http://sandbox:8410", "https://[fd00::1]"],
         ["http://sandbox:8411", "https://[fd00::1]:8443", "https://[fe80::1]"]),
        ("[::1]:8410", ["http://[::1]:8410"], ["http://127.0.0.1:8410", "http://[::ffff:127.0.0.1]:8410"]),
    ],
)  # fmt: skip
def test_an_operator_allows_a_place_and_nothing_beside_it(allowed: str, good: list[str], bad: list[str]) -> None:
    rule = Addresses(read_places(allowed))
    for address in good:
        rule.check_entered(address)
    for address in bad:
        with pytest.raises(AddressRefused):
            rule.check_entered(address)


def test_of_a_name_that_an_operator_allows_the_address_is_not_asked() -> None:
    rule = Addresses(read_places("bank.internal:8443"))
    assert rule.check_resolved("bank.internal", ["10.0.0.1"], 8443) == ["10.0.0.1"]
    for name, port in (("bank.internal", 443), ("other.internal", 8443)):
        with pytest.raises(AddressRefused):
            rule.check_resolved(name, ["10.0.0.1"], port)


def test_of_localhost_the_address_that_is_allowed_is_called() -> None:
    rule = Addresses(read_places("127.0.0.1:8410"))
    assert rule.check_resolved("localhost", ["::1", "127.0.0.1"], 8410) == ["127.0.0.1"]
    with pytest.raises(AddressRefused):
        rule.check_resolved("localhost", ["::1", "127.0.0.1"], 8411)


def test_a_trial_opens_loopback_alone_for_as_long_as_it_lasts() -> None:
    asked: list[tuple[str, int]] = []
    going = True

    def also(ip: str, port: int) -> bool:
        asked.append((ip, port))
        return going

    rule = Addresses((), also)
    rule.check_entered("http://127.0.0.1:7000")
    with pytest.raises(AddressRefused):
        rule.check_entered("http://10.0.0.1:7000")
    going = False
    with pytest.raises(AddressRefused):
        rule.check_entered("http://127.0.0.1:7000")
    assert asked == [("127.0.0.1", 7000)] * 2


@pytest.mark.parametrize(
    "listed",
    ["127.0.0.1:99999", "::1", "1.2.3", "a b", "10.0.0.1/8", "[rail.example]:1", "x:", "ftp://x", "*", "0x7f.1"],
)
def test_a_place_that_cannot_be_understood_is_named(listed: str) -> None:
    with pytest.raises(ValueError, match=r"no place|neither") as refused:
        read_places(f"127.0.0.1, {listed}")
    assert listed in str(refused.value)


# ---- what payers' browsers are sent to -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["https://shop.example/back?o=1#x", "http://localhost:3000/", "http://192.168.1.5/x"]
)
def test_a_payer_may_be_sent_anywhere_that_a_browser_goes(address: str) -> None:
    check_shown(address)


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "data:text/html,x", "https://u:p@shop.example", "https://shop.example\\@x", "https://",
     "https://shop.example:x/", "https://[::1", "http:shop.example", "https://shop.example/\u202e", "https:///x"],
)  # fmt: skip
def test_a_payer_is_sent_to_no_script_and_with_no_password(address: str) -> None:
    with pytest.raises(AddressRefused):
        check_shown(address)
