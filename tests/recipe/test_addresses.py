"""Addresses of servers: what is one, which mean the same server, which are on this machine; never a traceback."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megadocs.recipe.addresses import is_loopback, is_same_server, server_of

NO_ADDRESS = [
    "", "x", "api.example.org", "api.example.org/v1", "//api.example.org", "ftp://a/", "file:///etc", "http://",
    "http:///v1", "http://:80", "http://u@a/", "http://u:p@a/", "http://@a/", "http://127.0.0.1\\@evil.example/",
    "http://a/?q", "http://a/#f", "http://a b/", "http://a:x/", "http://a:0/", "http://a:65536/", "http://a:-1/",
    "http://a:99999999999999999999/", "http://[::1", "http://::1/", "http://[1:2]/", "http://[zz]/", "http://a..b/",
    "http://.a/", "http://localhost%2eevil.example/", "http://bücher.example/", "http://ｌocalhost/", "http://a\nb/",
    "http://a\tb/", "http://[fe80::1%25eth0]/", "http://a,b/",
]  # fmt: skip


@pytest.mark.parametrize("address", NO_ADDRESS)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="not a server address"):
        server_of(address)
    assert not is_same_server(address, address)
    assert not is_loopback(address)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("https://api.example.org/v1", "https://API.Example.ORG"),
        ("https://api.example.org/v1", "https://api.example.org.:443/other"),
        ("http://api.example.org", "http://api.example.org:80/"),
        ("HTTP://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("http://[::1]:8000/v1", "http://[0:0:0:0:0:0:0:1]:8000"),
        ("http://[::ffff:10.0.0.2]/v1", "http://10.0.0.2/v1"),
        ("http://[2001:DB8::1]/", "http://[2001:db8:0::1]:80/"),
        ("https://xn--bcher-kva.example/v1", "https://XN--bcher-kva.example"),
    ],
)
def test_two_ways_to_write_one_server(first: str, second: str) -> None:
    assert is_same_server(first, second)
    assert is_loopback(first) == is_loopback(second)


@pytest.mark.parametrize(
    "other",
    [
        "http://api.example.org/v1",
        "https://api.example.org:444/v1",
        "https://api.example.org.evil.example/v1",
        "https://example.org/v1",
        "https://xn--pi-7kc.example.org/v1",
    ],
)
def test_other_servers(other: str) -> None:
    assert not is_same_server("https://api.example.org/v1", other)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.2", "127.255.255.254", "0.0.0.0", "[::1]", "[::]", "localhost", "LOCALHOST.",
     "[::ffff:127.0.0.1]", "a.localhost"],
)  # fmt: skip
def test_addresses_of_this_machine(host: str) -> None:
    assert is_loopback(f"http://{host}:8000/v1")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1.evil.example", "10.0.0.1", "128.0.0.1", "0.0.0.1", "localhost.evil.example", "[2001:db8::1]",
     "127.1", "0x7f.1", "2130706433", "notlocalhost"],
)  # fmt: skip
def test_addresses_of_other_machines(host: str) -> None:
    """Short and hexadecimal forms count as other machines: then the person is asked."""
    assert not is_loopback(f"http://{host}:8000/v1")


@given(st.text(alphabet="ahtps:/.[]@%#?\\0159-_ é\n", max_size=24))
def test_any_text_is_an_address_or_none(text: str) -> None:
    for address in (text, f"http://{text}", f"https://a{text}"):
        is_loopback(address)
        with contextlib.suppress(ValueError):
            server = server_of(address)
            assert 0 < server.port < 65536
            host = f"[{server.host}]" if ":" in server.host else server.host
            assert server_of(f"{server.scheme}://{host}:{server.port}/x") == server
