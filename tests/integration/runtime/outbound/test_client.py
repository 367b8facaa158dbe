"""What the client sends, and how it holds up against servers that are slow, broken or hostile."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import outbound
from runtime.settings import load
from tests import http_server

LOOPBACK = outbound.Policy(allow=outbound.networks("127.0.0.0/8"))


async def hang(*_: object) -> None:
    await asyncio.Event().wait()


def client(**options: object) -> outbound.Outbound:
    return outbound.Outbound(LOOPBACK, **({"total_timeout": 5} | options))


async def test_a_request_arrives_as_it_was_given_with_the_mark_of_a_loop() -> None:
    async with http_server.serve() as server, client() as outbound_client:
        response = await outbound_client.request(
            "POST",
            f"{server.url}/in?a=%20b",
            headers={"Content-Type": "application/json", "X-Own": "1"},
            body=b'{"a": 1}',
        )
    assert (response.status, response.body, response.truncated, response.address) == (204, b"", False, "127.0.0.1")
    (request,) = server.requests
    assert (request.method, request.target, request.body) == ("POST", "/in?a=%20b", b'{"a": 1}')
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-own"] == "1"
    assert request.headers["cdn-loop"] == "atelier"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("Atelier/")


async def test_the_mark_of_a_loop_is_appended_to_those_of_others() -> None:
    async with http_server.serve() as server, client() as outbound_client:
        await outbound_client.request("GET", server.url, headers={"cdn-loop": "fastly; x=1"})
    assert server.requests[0].headers["cdn-loop"] == "fastly; x=1, atelier"


async def test_the_settings_make_the_client() -> None:
    given = load({"ATELIER_OUTBOUND_ALLOW": "127.0.0.0/8", "ATELIER_WEBHOOK_TIMEOUT": "0.1"})
    async with http_server.serve() as prompt, http_server.serve(hang) as silent, outbound.create(given) as made:
        assert (await made.request("POST", prompt.url)).status == 204
        with pytest.raises(outbound.OutboundTimeoutError):
            await made.request("POST", silent.url)


async def test_cookies_of_one_customer_are_not_shown_to_the_next() -> None:
    answer = http_server.response(headers={"set-cookie": "session=1; Path=/"})
    async with http_server.serve(answer) as server, client() as outbound_client:
        await outbound_client.request("GET", server.url)
        await outbound_client.request("GET", server.url)
    assert ["cookie" in request.headers for request in server.requests] == [False, False]


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with http_server.serve() as server, client() as outbound_client:
        for _ in range(5):
            await outbound_client.request("POST", server.url, body=b"{}")
    assert (server.connections, len(server.requests)) == (1, 5)


async def test_an_encoded_body_is_not_decoded() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    answer = http_server.response(bomb, headers={"content-encoding": "gzip"})
    async with http_server.serve(answer) as server, client(max_response=len(bomb)) as outbound_client:
        response = await outbound_client.request("GET", server.url)
    assert response.body == bomb


async def test_a_body_is_read_up_to_the_cap_and_the_connection_closed() -> None:
    async def flood(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            await writer.drain()

    async with http_server.serve(flood) as server, client(max_response=1000) as outbound_client:
        response = await outbound_client.request("POST", server.url)
        assert (len(response.body), response.truncated) == (1000, True)
        response = await outbound_client.request("POST", server.url, max_bytes=70_000)
        assert (len(response.body), response.truncated) == (70_000, True)
        with pytest.raises(outbound.ResponseTooLargeError):
            await outbound_client.request("POST", server.url, fail_if_larger=True)
        async with asyncio.timeout(5):
            while server.open:
                await asyncio.sleep(0.01)


async def test_a_body_of_just_the_cap_is_whole() -> None:
    async with (
        http_server.serve(http_server.response(b"x" * 1000)) as server,
        client(max_response=1000) as outbound_client,
    ):
        response = await outbound_client.request("POST", server.url, fail_if_larger=True)
    assert (len(response.body), response.truncated) == (1000, False)


@pytest.mark.parametrize("when", ["never answers", "drips headers", "drips body", "drips interim answers"])
async def test_a_slow_server_is_given_up_on_time(when: str) -> None:
    async def drip(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start = {
            "drips body": b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
            "drips headers": b"HTTP/1.1 200 OK\r\n",
        }
        drop = {"drips body": b"x", "drips headers": b"a: b\r\n", "drips interim answers": b"HTTP/1.1 102 X\r\n\r\n"}
        writer.write(start.get(when, b""))
        while not writer.is_closing():
            writer.write(drop.get(when, b""))
            await asyncio.sleep(0.02)

    async with http_server.serve(drip) as server, client() as outbound_client:
        started = asyncio.get_running_loop().time()
        with pytest.raises(outbound.OutboundTimeoutError):
            await outbound_client.request("POST", server.url, timeout=0.2)
        assert 0.15 < asyncio.get_running_loop().time() - started < 2


async def test_a_slow_name_server_is_given_up_on_time() -> None:
    class Slow(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
            await hang()
            raise AssertionError

        async def close(self) -> None:
            pass

    async with client(resolver=Slow()) as outbound_client:
        with pytest.raises(outbound.OutboundTimeoutError):
            await outbound_client.request("POST", "http://hooks.example.com/", timeout=0.1)


async def test_a_host_that_does_not_take_the_connection_is_given_up_before_the_rest_of_the_time() -> None:
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        stack.enter_context(socket.create_connection(("127.0.0.1", port)))  # its queue is full from here on
        outbound_client = await stack.enter_async_context(client(connect_timeout=0.1))
        started = asyncio.get_running_loop().time()
        with pytest.raises(outbound.OutboundTimeoutError):
            await outbound_client.request("POST", f"http://127.0.0.1:{port}/")
        assert asyncio.get_running_loop().time() - started < 2


async def test_each_fault_of_a_connection_has_its_code() -> None:
    async def rst(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http_server.reset(writer)

    async def half(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc")
        await writer.drain()
        writer.close()

    async def code(answer: http_server.Answer | bytes) -> str:
        async with http_server.serve(answer) as server, client() as outbound_client:
            with pytest.raises(outbound.ConnectionFailedError) as caught:
                await outbound_client.request("POST", server.url)
        return caught.value.code

    assert await code(rst) == "connection_broken"
    assert await code(half) in {"connection_broken", "bad_response"}
    assert await code(b"220 mail.example.com ESMTP\r\n") == "bad_response"
    assert await code(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n") == "bad_response"
    assert await code(b"HTTP/1.1 200 OK\r\na: " + b"x" * 100_000) == "bad_response"
    assert await code(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000) == "bad_response"


async def test_a_closed_port_and_an_unknown_name_have_their_codes() -> None:
    async with http_server.serve() as server:
        pass
    async with client() as outbound_client:
        with pytest.raises(outbound.ConnectionFailedError) as closed:
            await outbound_client.request("POST", server.url)
        with pytest.raises(outbound.ConnectionFailedError) as unknown:
            await outbound_client.request("POST", "http://nowhere.invalid/")
    assert (closed.value.code, unknown.value.code) == ("connect_failed", "dns_failed")


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
)
def test_no_answer_raises_anything_but_an_outbound_error(tail: bytes, head: bytes) -> None:
    async def answer(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head + tail)
        await writer.drain()
        writer.close()

    async def ask() -> None:
        async with http_server.serve(answer) as server, client() as outbound_client:
            try:
                await outbound_client.request("POST", server.url, body=b"{}")
            except outbound.OutboundError:
                pass

    asyncio.run(ask())


async def test_no_error_shows_the_url_or_what_was_sent() -> None:
    async def rst(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http_server.reset(writer)

    async with (
        http_server.serve(rst) as broken,
        http_server.serve(hang) as silent,
        http_server.serve(b"nonsense\r\n\r\n") as talker,
        client() as outbound_client,
    ):
        urls = [server.url for server in (broken, silent, talker)]
        for url in (*urls, "http://10.0.0.1", "http://127.0.0.1:1", "http://user:CANARY@h", "http://CANARY.invalid"):
            with pytest.raises(outbound.OutboundError) as caught:
                await outbound_client.request(
                    "POST", f"{url}/CANARY?token=CANARY", headers={"X": "CANARY"}, body=b"CANARY", timeout=0.2
                )
            lines = traceback.format_exception_only(caught.value)
            assert "CANARY" not in "".join(lines).upper()
            assert caught.value.__suppress_context__ or caught.value.__context__ is None


async def test_a_host_has_so_many_exchanges_at_once_and_no_more() -> None:
    async def slow(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        writer.write(http_server.NO_CONTENT)

    async with http_server.serve(slow) as server, client(per_host=3) as outbound_client:
        responses = await asyncio.gather(*(outbound_client.request("POST", server.url) for _ in range(12)))
    assert {response.status for response in responses} == {204}
    assert server.most_open == 3


async def test_a_silent_host_makes_only_its_own_callers_wait() -> None:
    async with (
        http_server.serve(hang) as silent,
        http_server.serve(address="127.0.0.2") as prompt,
        client(per_host=1) as outbound_client,
    ):
        stuck = asyncio.create_task(outbound_client.request("POST", silent.url))
        await asyncio.sleep(0.05)
        with pytest.raises(outbound.HostBusyError):
            await outbound_client.request("POST", silent.url, timeout=0.05)
        assert (await outbound_client.request("POST", prompt.url, timeout=0.5)).status == 204
        stuck.cancel()
        await asyncio.wait([stuck])
        with pytest.raises(outbound.OutboundTimeoutError):
            await outbound_client.request("POST", silent.url, timeout=0.05)
    assert len(silent.requests) == 2


async def test_a_host_that_nobody_speaks_to_costs_no_memory() -> None:
    async with http_server.serve(address="0.0.0.0") as server, client() as outbound_client:
        for number in range(1, 20):
            await outbound_client.request("POST", f"http://127.0.0.{number}:{server.port}/")
        assert len(outbound_client._places) == 0


class Everywhere(AbstractResolver):
    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass


def certificate(folder: Path, name: str) -> ssl.SSLContext:
    """A server's context with a certificate that signs itself, kept as `cert.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def test_tls_is_verified_against_the_name_and_not_the_address(tmp_path: Path) -> None:
    server_side = certificate(tmp_path, "hooks.example.com")
    trusted = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    async with http_server.serve(tls=server_side) as server, client(tls=trusted, resolver=Everywhere()) as knowing:
        response = await knowing.request("POST", f"https://hooks.example.com:{server.port}/", body=b"{}")
        assert response.status == 204
        with pytest.raises(outbound.ConnectionFailedError) as other_name:
            await knowing.request("POST", f"https://other.example.com:{server.port}/")
        async with client(resolver=Everywhere()) as unknowing:
            with pytest.raises(outbound.ConnectionFailedError) as untrusted:
                await unknowing.request("POST", f"https://hooks.example.com:{server.port}/")
    assert (other_name.value.code, untrusted.value.code) == ("tls_failed", "tls_failed")
    assert len(server.requests) == 1
