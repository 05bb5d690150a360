"""Only permitted sources are opened, and their secrets stay hidden."""

import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from model.video.source import SCHEME_PROTOCOLS
from service.sources.address_policy import PUBLIC_ONLY, AddressPolicy, read_nameservers
from service.sources.authorities import PUBLIC_AUTHORITIES
from service.sources.sources import SourceForbiddenError, check_url, openable
from service.sources.stored import StoredUpload, StoredUrl

PRIVATE_V4 = ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"]
PRIVATE_V4 += [
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "192.0.0.0/24",
    "192.88.99.0/24",
    "168.63.129.16/32",
]
PRIVATE_V6 = [
    "::1/128",
    "::/96",
    "fec0::/10",
    "64:ff9b:1::/48",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
    "2001:db8::/32",
    "fd00:ec2::254/128",
]
LAN = AddressPolicy((ip_network("192.168.0.0/16"), ip_network("fd12::/64")), frozenset({ip_address("10.0.0.53")}))

TRICKS = [
    *("http://127.0.0.1/", "http://127.1/", "http://127.0.1/", "http://2130706433/", "http://0x7f000001/"),
    *("http://0x7f.0.0.1/", "http://0x7f.1/", "http://0177.0.0.1/", "http://0177.1/", "http://017700000001/"),
    *("http://0/", "http://0.0.0.0/", "http://0x0/", "http://00000.0/", "http://localhost./", "http://localhost/"),
    *("http://LOCALHOST/", "http://a.localhost/", "http://localhost:8000/", "http://10.0.0.1/", "http://10.1/"),
    *("http://167772161/", "http://172.16.0.1/", "http://172.31.255.255/", "http://192.168.1.1/"),
    *("http://192.168.257/", "http://3232235777/", "http://169.254.169.254/latest/meta-data/"),
    *("http://2852039166/", "http://0xa9fea9fe/", "http://0251.0376.0251.0376/", "http://169.254.170.2/"),
    *("http://100.100.100.200/", "http://168.63.129.16/", "http://192.0.0.192/", "http://224.0.0.1/"),
    *("http://239.255.255.250/", "http://255.255.255.255/", "http://240.0.0.1/", "http://100.64.0.1/"),
    *("http://[::1]/", "http://[::]/", "http://[0:0:0:0:0:0:0:1]/", "http://[::ffff:127.0.0.1]/"),
    *("http://[::ffff:7f00:1]/", "http://[::ffff:a9fe:a9fe]/", "http://[fe80::1]/", "http://[fc00::1]/"),
    *("http://[fd00:ec2::254]/", "http://[ff02::1]/", "http://[64:ff9b::7f00:1]/"),
    *("http://[64:ff9b::a9fe:a9fe]/", "http://[2002:7f00:1::]/", "http://[2002:a9fe:a9fe::1]/"),
    *("http://[::127.0.0.1]/", "http://example.org@127.0.0.1/", "http://example.org:80@127.0.0.1/"),
    *("http://a:b@[::1]/", "http://127.0.0.1#@example.org/", "http://127.0.0.1?@example.org/"),
    *("http://user@10.0.0.1:554/", "http://[::1/", "file:///etc/passwd", "FILE:///etc/passwd"),
    *("ftp://example.org/v.mp4", "gopher://example.org/", "/etc/passwd", "", "concat:a|b"),
    *("concat:http://example.org/a|/etc/passwd", "subfile,,start,0,end,9,,:/etc/passwd", "data:video/mp4,AA"),
    *("pipe:0", "fd:0", "unix:///run/redis.sock", "tcp://example.org:6379/", "udp://239.0.0.1:1234"),
    *("cache:http://a.org/", "crypto:http://example.org/", "async:http://example.org/", "tee:a|b", "md5:a"),
    *("http:///v.mp4", "http:/etc/passwd", "http:v.mp4", "http://", "//example.org/v.mp4"),
    *("javascript:alert(1)", "jar:http://example.org!/v", "dict://10.0.0.1/"),
]  # fmt: skip


def test_an_upload_is_opened_from_its_own_path_and_not_from_its_file_name(tmp_path: Path) -> None:
    opened = openable(StoredUpload(filename="../../etc/passwd"), tmp_path / "some-id", PUBLIC_ONLY, PUBLIC_AUTHORITIES)
    assert opened.address == str(tmp_path / "some-id")


def test_an_http_address_is_opened_as_it_is(tmp_path: Path) -> None:
    for url in ("http://user:pass@example.org:8080/v.mp4?token=x", "https://example.org/v.mp4", "http://1.1.1.1/v.mp4"):
        opened = openable(StoredUrl(url=SecretStr(url)), tmp_path, PUBLIC_ONLY, PUBLIC_AUTHORITIES)
        assert opened.address == url
        assert "file" not in opened.options["protocol_whitelist"].split(",")


@pytest.mark.parametrize("url", TRICKS)
def test_an_address_that_leads_inside_is_forbidden_however_it_is_written(tmp_path: Path, url: str) -> None:
    with pytest.raises(SourceForbiddenError) as caught:
        openable(StoredUrl(url=SecretStr(url)), tmp_path, PUBLIC_ONLY, PUBLIC_AUTHORITIES)
    assert caught.value.code == "source_forbidden"
    assert caught.value.detail.endswith(".")


def test_there_are_more_than_sixty_tricks() -> None:
    assert len(set(TRICKS)) == len(TRICKS) >= 60


def test_an_operator_allows_networks_and_no_others() -> None:
    check_url("http://192.168.1.20/cam", LAN)
    check_url("http://[fd12::9]/cam", LAN)
    for other in ("http://10.0.0.53/", "http://127.0.0.1/", "http://[fd13::9]/"):
        with pytest.raises(SourceForbiddenError):
            check_url(other, LAN)


def test_an_openable_source_does_not_print_its_secrets(tmp_path: Path) -> None:
    assert "hunter2" not in repr(
        openable(StoredUrl(url=SecretStr("http://u:hunter2@example.org/")), tmp_path, PUBLIC_ONLY, PUBLIC_AUTHORITIES)
    )


@given(st.sampled_from(PRIVATE_V4).flatmap(lambda network: st.ip_addresses(v=4, network=network)))
def test_no_address_that_is_not_public_is_permitted_nor_are_those_that_stand_for_it(address: IPv4Address) -> None:
    number = int(address)
    standing_for_it = [0xFFFF << 32 | number, 0x64_FF9B << 96 | number, 0x2002 << 112 | number << 80]
    others: list[IPv4Address | IPv6Address] = [IPv6Address(each) for each in standing_for_it]
    for one in (address, *others):
        assert not PUBLIC_ONLY.permits(one, 554)


@given(st.sampled_from(PRIVATE_V6).flatmap(lambda network: st.ip_addresses(v=6, network=network)))
def test_no_ipv6_address_that_is_not_public_is_permitted(address: IPv6Address) -> None:
    assert not PUBLIC_ONLY.permits(address, 554)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_permitted(address: str) -> None:
    assert PUBLIC_ONLY.permits(ip_address(address), 443)


def test_a_name_server_is_permitted_on_its_own_port_only() -> None:
    assert LAN.permits(ip_address("10.0.0.53"), 53)
    assert not LAN.permits(ip_address("10.0.0.53"), 80)
    assert not LAN.permits(ip_address("10.0.0.54"), 53)


def test_name_servers_are_read_as_the_resolver_reads_them(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("# a comment\nsearch example.org\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\n")
    assert read_nameservers(conf) == {ip_address("10.0.0.2"), ip_address("fe80::1")}
    assert read_nameservers(tmp_path / "absent") == {ip_address("127.0.0.1")}


def test_a_camera_sends_over_tcp_unless_udp_is_requested() -> None:
    for asked, options in (({}, "tcp"), ({"transport": "udp"}, "udp")):
        source = StoredUrl.model_validate({"url": "rtsp://93.184.215.14/v", **asked})
        assert openable(source, Path(), PUBLIC_ONLY, PUBLIC_AUTHORITIES).options["rtsp_transport"] == options
    for scheme in SCHEME_PROTOCOLS:
        protocols = openable(
            StoredUrl(url=SecretStr(f"{scheme}://93.184.215.14/v")), Path(), PUBLIC_ONLY, PUBLIC_AUTHORITIES
        ).options
        assert not {"file", "pipe", "concat", "data"} & set(protocols["protocol_whitelist"].split(","))


def test_a_public_address_of_this_machine_is_not_permitted_unless_the_operator_allows_it() -> None:
    own = {ip_address("198.41.0.4"), ip_address("2606:4700::1")}
    policy = AddressPolicy(is_own=own.__contains__)
    for text in ("198.41.0.4", "::ffff:198.41.0.4", "64:ff9b::c629:4", "2606:4700::1"):
        assert not policy.permits(ip_address(text), 443)
    assert policy.permits(ip_address("198.41.0.5"), 443)
    with pytest.raises(SourceForbiddenError):
        check_url("http://198.41.0.4:9999/v.mp4", policy)
    allowed = AddressPolicy((ip_network("198.41.0.4/32"),), is_own=own.__contains__)
    check_url("http://198.41.0.4:9999/v.mp4", allowed)


OWN_ADDRESS = """
ip link set lo up && ip address add 198.41.0.4/32 dev lo && ip address add 2606:4700::1/128 dev lo nodad || exit 77
exec "$0" -c '
from ipaddress import ip_address
from service.sources.address_policy import PUBLIC_ONLY
print([PUBLIC_ONLY.permits(ip_address(one), 443) for one in ("198.41.0.4", "2606:4700::1", "198.41.0.5")])
'
"""


def test_the_kernel_knows_the_addresses_of_this_machine() -> None:
    """In a separate network namespace, whose loopback interface gets public addresses."""
    command = ["unshare", "--map-root-user", "--net", "sh", "-c", OWN_ADDRESS, sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "permitted" in done.stderr:
        pytest.skip(f"this machine makes no network namespaces: {done.stderr.strip()}")
    assert done.stdout.strip() == "[False, False, True]", done.stderr
