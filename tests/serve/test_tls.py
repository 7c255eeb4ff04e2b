"""A server speaks TLS by the files of a certificate and its key, and only with a key that nobody else can read."""

from __future__ import annotations

import http.client
import select
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from headrace.errors import ConfigError, UsageError
from headrace.serve.access.access import Access
from headrace.serve.metrics import CONNECTIONS
from headrace.serve.request import Limits
from headrace.serve.server import _SURPLUS, addressed, is_loopback, loopback, tls_of
from tests.serve.site import BODY, PATH, Line, Site, certified, serving, until

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes keys, is not installed")
QUICK = Limits(head_s=0.5)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certified(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def site(files: tuple[Path, Path]) -> Iterator[Site]:
    with serving(limits=QUICK, tls=tls_of(*files), access=lambda port: Access.loopback(port, "https")) as site:
        yield site


def client(files: tuple[Path, Path], newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files[0])
    if newest < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = newest
    context.maximum_version = newest
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_clients_that_know_the_certificate_are_answered(
    site: Site, files: tuple[Path, Path], version: ssl.TLSVersion
) -> None:
    connection = http.client.HTTPSConnection("localhost", site.port, context=client(files, version), timeout=30)
    origin = f"https://localhost:{site.port}"
    for _ in range(2):
        connection.request("POST", PATH, BODY, {"content-type": "application/json", "origin": origin})
        assert connection.getresponse().read().startswith(b'{"predictions"')
    connection.request("POST", PATH, BODY, {"content-type": "application/json", "origin": origin.replace("s:", ":")})
    assert connection.getresponse().status == 403
    connection.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_older_forms_of_tls_and_plain_http_are_not_spoken(site: Site, files: tuple[Path, Path]) -> None:
    with (
        socket.create_connection(("127.0.0.1", site.port), timeout=30) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        client(files, ssl.TLSVersion.TLSv1_1).wrap_socket(plain, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert b"healthy" not in plain.recv(1_000)


def test_a_client_that_does_not_shake_hands_is_closed(site: Site) -> None:
    line = Line(site.port)
    assert line.is_closed()
    line.leave()


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o777])
def test_a_key_that_everybody_can_read_is_refused(files: tuple[Path, Path], mode: int) -> None:
    files[1].chmod(mode)
    try:
        with pytest.raises(ConfigError, match="every user of this host can read"):
            tls_of(*files)
    finally:
        files[1].chmod(0o600)


def test_files_that_can_not_be_used_are_told(files: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = files
    other = tmp_path / "other.pem"
    other.touch(0o600)
    for pair in ((certificate, other), (other, key), (key, key), (certificate, tmp_path / "none.pem")):
        with pytest.raises(ConfigError, match="can't be used"):
            tls_of(*pair)
    locked = tmp_path / "locked.pem"
    words = ["openssl", "ec", "-in", key, "-out", locked, "-aes256", "-passout", "pass:secret"]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    locked.chmod(0o600)
    with pytest.raises(ConfigError, match="can't be used"):
        tls_of(certificate, locked)


def test_what_other_hosts_can_reach_is_known() -> None:
    for sockets, is_ours in ((loopback(0), True), (addressed("127.0.0.2", 0), True), (addressed("0.0.0.0", 0), False)):
        assert is_loopback(sockets) == is_ours
        for each in sockets:
            each.close()
    with pytest.raises(UsageError, match="isn't known"):
        addressed("no host", 0)


def test_the_bound_of_connections_holds_for_tls(files: tuple[Path, Path]) -> None:
    limits = replace(QUICK, head_s=30.0, most_connections=1)
    with serving(limits=limits, tls=tls_of(*files)) as site:
        context = client(files)
        with (
            socket.create_connection(("localhost", site.port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as first,
        ):
            first.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert first.recv(1_000).startswith(b"HTTP/1.1 200")
            with (
                socket.create_connection(("localhost", site.port)) as other,
                context.wrap_socket(other, server_hostname="localhost") as second,
            ):
                assert second.recv(1_000).startswith(b"HTTP/1.1 503")


def test_silent_clients_hold_no_more_files_than_the_bound_of_connections_allows(files: tuple[Path, Path]) -> None:
    limits = replace(QUICK, head_s=5.0, most_connections=5)
    with serving(limits=limits, tls=tls_of(*files), access=lambda port: Access.loopback(port, "https")) as site:

        def counted() -> float:
            return site.metrics.reading().numbers[CONNECTIONS.name][()]

        most = 5 + _SURPLUS  # so many may agree, and the others are closed at once
        silent = [Line(site.port) for _ in range(100)]
        until(lambda: len(select.select([line.socket for line in silent], [], [], 0)[0]) >= 100 - most)
        assert 5 < counted() <= most
        until(lambda: counted() == 0)  # their time is over
        connection = http.client.HTTPSConnection("localhost", site.port, context=client(files), timeout=30)
        connection.request("POST", PATH, BODY, {"content-type": "application/json"})
        assert connection.getresponse().status == 200
        connection.close()
        for line in silent:
            line.leave()
