"""Pages that are called over TCP, and the files that tell where."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from asyncmachine_relay import Limits, Op, RelayConfigError, Target
from asyncmachine_relay.address_files import AddressFiles
from asyncmachine_relay.states import ListeningTunnelStates as S
from asyncmachine_relay.tcp import RawEnd
from tests.ports import free_ports
from tests.relay.support import Running, ask_token, ending, opened, running
from tests.relay.tcp_support import body_of, framed, listener


async def address_of(run: Running) -> tuple[str, int]:
    """Where the only tunnel can be called."""
    while True:
        for tunnel in run.relay.tunnels:
            await tunnel.machine.when(S.TcpListening)
        found = list(Path(run.relay._bridges.files._directory).glob("*.addr"))  # type: ignore[union-attr]
        host, _, port = found[0].read_text().rpartition(":")
        return host, int(port)


async def test_a_page_is_called_over_tcp_at_the_address_in_its_file(tmp_path: Path) -> None:
    async with running(targets=[listener(raw=True)], address_dir=tmp_path) as run:
        async with opened(run, "repl-browser1", "listen", "repl") as page:
            [tunnel] = run.relay.tunnels
            await tunnel.machine.when(S.TcpListening)
            file = tmp_path / "repl-browser1.addr"
            host, _, port = file.read_text().partition(":")
            assert (host, stat.S_IMODE(file.stat().st_mode)) == ("127.0.0.1", 0o600)
            assert int(port) > 0
            reader, writer = await asyncio.open_connection(host, int(port))
            await tunnel.machine.when(S.Ready)
            assert not file.exists()  # one caller at a time: there is nothing to call any more
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(host, int(port))
            writer.write(b"help")
            assert await page.recv() == b"help"
            await page.send(b"add, remove")
            assert await reader.readexactly(11) == b"add, remove"
            writer.write_eof()
            assert await ending(page) == (1000, "")
            assert await reader.read() == b""
            writer.close()
        await run.relay.tunnels.emptied()


async def test_messages_pass_with_their_lengths(tmp_path: Path) -> None:
    async with (
        running(targets=[listener()], address_dir=tmp_path) as run,
        opened(run, "repl-browser1", "listen", "repl") as page,
    ):
        await page.send(b"early")  # waits for a caller
        reader, writer = await asyncio.open_connection(*await address_of(run))
        writer.write(framed(b"one", b"two"))
        assert [await page.recv(), await page.recv()] == [b"one", b"two"]
        assert await body_of(reader) == b"early"
        writer.close()


async def test_a_page_that_leaves_closes_its_port_and_its_file_at_once(tmp_path: Path) -> None:
    limits = Limits(leave=30)
    async with running(targets=[listener(raw=True)], address_dir=tmp_path, limits=limits) as run:
        async with opened(run, "repl-browser1", "listen", "repl"):
            host, port = await address_of(run)
        await run.relay.tunnels.emptied()
        while list(tmp_path.glob("*.addr")):
            await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)


async def test_a_caller_too_many_is_hung_up_on(tmp_path: Path) -> None:
    """Two pages are called, and their target may have one connection: who calls the second is not left waiting."""
    target = listener(raw=True, connections=1)
    async with (
        running(targets=[target], address_dir=tmp_path) as run,
        opened(run, "repl-browser1", "listen", "repl") as page,
    ):
        _, first = await asyncio.open_connection(*await address_of(run))
        await page.send(b"one")
        async with opened(run, "repl-browser2", "listen", "repl") as other:
            while not (file := tmp_path / "repl-browser2.addr").exists():
                await asyncio.sleep(0)
            host, _, port = file.read_text().partition(":")
            reader, second = await asyncio.open_connection(host, int(port))
            assert await ending(other) == (4429, "LIMIT")
            with pytest.raises(ConnectionResetError):
                async with asyncio.timeout(5):
                    await reader.read()
            second.close()
        first.close()


async def test_small_messages_to_a_caller_do_not_wait_for_an_acknowledgement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[asyncio.BaseTransport] = []
    made = RawEnd.connection_made

    def connection_made(self: RawEnd, transport: asyncio.BaseTransport) -> None:
        accepted.append(transport)
        made(self, transport)

    monkeypatch.setattr(RawEnd, "connection_made", connection_made)
    async with (
        running(targets=[listener(raw=True)], address_dir=tmp_path) as run,
        opened(run, "repl-browser1", "listen", "repl") as page,
    ):
        reader, writer = await asyncio.open_connection(*await address_of(run))
        await page.send(b"x")
        assert await reader.readexactly(1) == b"x"
        [transport] = accepted
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()


async def test_silence_is_all_right_until_somebody_calls(tmp_path: Path) -> None:
    limits = Limits(idle=0.2, leave=0.02)
    async with (
        running(targets=[listener(raw=True)], address_dir=tmp_path, limits=limits) as run,
        opened(run, "repl-browser1", "listen", "repl") as page,
    ):
        address = await address_of(run)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await page.recv()
        _, writer = await asyncio.open_connection(*address)
        assert await ending(page) == (4408, "DEADLINE")
        writer.close()


async def test_only_a_repl_has_a_file(tmp_path: Path) -> None:
    target = Target("repl", "127.0.0.1", 0, ops=(Op.LISTEN,))
    async with running(targets=[target], address_dir=tmp_path) as run, opened(run, "browser9", "listen", "repl"):
        [tunnel] = run.relay.tunnels
        await tunnel.machine.when(S.TcpListening)
        assert list(tmp_path.iterdir()) == []


async def test_a_range_gives_each_page_a_port_of_its_own_until_none_is_left(tmp_path: Path) -> None:
    ports = free_ports(2)
    target = listener(f"{ports[0]}-{ports[1]}")
    async with (
        running(targets=[target], address_dir=tmp_path) as run,
        opened(run, "repl-a", "listen", "repl"),
        opened(run, "repl-b", "listen", "repl"),
    ):
        while len(run.relay.tunnels) < 2:
            await asyncio.sleep(0)
        for tunnel in run.relay.tunnels:
            await tunnel.machine.when(S.TcpListening)
        found = {path.name: path.read_text() for path in tmp_path.glob("*.addr")}
        assert found == {
            "repl-a.addr": f"127.0.0.1:{ports[0]}",
            "repl-b.addr": f"127.0.0.1:{ports[1]}",
        }
        async with opened(run, "repl-c", "listen", "repl") as third:
            assert await ending(third) == (4409, "DUPLICATE")


async def test_the_owner_that_comes_again_has_its_port_again(tmp_path: Path) -> None:
    ports = free_ports(2)
    async with running(targets=[listener(ports[0])], address_dir=tmp_path) as run:
        answer = (await ask_token(run, "repl-a", "listen", "repl")).json
        async with opened(run, "repl-a", "listen", "repl", using=answer["token"]) as first:
            assert await address_of(run) == ("127.0.0.1", ports[0])
            again = (await ask_token(run, "repl-a", "listen", "repl", secret=answer["resume"])).json
            async with opened(run, "repl-a", "listen", "repl", using=again["token"]):
                assert await ending(first) == (4409, "DUPLICATE")
                assert await address_of(run) == ("127.0.0.1", ports[0])


async def test_a_url_binds_nothing_that_is_not_in_the_table() -> None:
    async with running(targets=[listener("14100-14102")]) as run:
        for target in ("127.0.0.1:14103", "0.0.0.0:14100", "repl:22", "127.0.0.1:0"):
            answer = await ask_token(run, "repl-a", "listen", target)
            assert (answer.status, answer.json["code"]) == (404, "TARGET")


# Files


def test_a_file_of_a_process_that_was_killed_is_swept_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, os\n"
        "from asyncmachine_relay.address_files import AddressFiles\n"
        "with AddressFiles(pathlib.Path(sys.argv[1])).holding(sys.argv[2], '127.0.0.1:1'):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )

    def hold(id: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), id], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        return process

    with hold("repl-dead") as dead, hold("repl-alive") as alive:
        dead.kill()
        dead.wait()
        (tmp_path / "other.addr").write_text("of somebody else")
        (tmp_path / ".repl-dead.addr.0123abcd").write_text("127.0")  # as one leaves it that is killed while it writes
        assert AddressFiles(tmp_path).sweep() == [".repl-dead.addr.0123abcd", "repl-dead.addr"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["other.addr", "repl-alive.addr"]
        alive.communicate()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.addr"]


def test_a_relay_sweeps_when_it_starts(tmp_path: Path) -> None:
    (tmp_path / "repl-old.addr").write_text("127.0.0.1:1")

    async def main() -> None:
        async with running(address_dir=tmp_path):
            assert list(tmp_path.iterdir()) == []

    asyncio.run(main())


def test_a_file_that_was_replaced_is_not_removed(tmp_path: Path) -> None:
    files = AddressFiles(tmp_path)
    path = tmp_path / "repl-a.addr"
    with files.holding("repl-a", "127.0.0.1:1"):
        with files.holding("repl-a", "127.0.0.1:2"):
            assert path.read_text() == "127.0.0.1:2"
        path.write_text("of another")
    assert path.read_text() == "of another"


def test_a_symlink_is_neither_followed_nor_swept(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    directory = tmp_path / "addresses"
    files = AddressFiles(directory)
    (directory / "repl-a.addr").symlink_to(secret)
    assert files.sweep() == []
    with files.holding("repl-a", "127.0.0.1:1"):
        assert secret.read_text() == "mine"
        assert not (directory / "repl-a.addr").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is let in everywhere, so only a file can stand in the way")
def test_a_directory_that_cannot_be_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RelayConfigError, match="give a directory that can be written"):
        AddressFiles(tmp_path / "file" / "inner")
