"""`am relay`: a real process, its signals, and what is said about settings that cannot be."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets

from asyncmachine import rpc
from asyncmachine.telemetry.dbg.replay import summary
from asyncmachine_relay.command import address, duration
from asyncmachine_tools.main import main
from tests.relay.support import BINARY, RawSocket, ask_token, ending, http, opened
from tests.relay.tcp_support import backend, echo_bytes, pour


class Program:
    """`am relay …` as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, origin: str) -> None:
        self.process = process
        self.origin = origin
        self.host = origin.removeprefix("http://")
        self.port = int(origin.rpartition(":")[2])

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def end(self) -> tuple[int, str]:
        """Exit code and what it wrote as log."""
        _, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, err.decode()


@asynccontextmanager
async def program(*arguments: str | Path, env: dict[str, str] | None = None) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "asyncmachine_tools",
        "relay",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        if " on " not in line:
            raise AssertionError((await process.communicate())[1].decode())
        yield Program(process, line.partition(" on ")[2].strip())
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def settings(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "relay.toml"
    file.write_text(f"[server]\nport = 0\n{text}")
    return file


async def test_without_any_option_it_is_closed_to_everybody(tmp_path: Path) -> None:
    async with program("wasm", "-l", "127.0.0.1:0") as relay:
        run: Any = relay
        assert (await http(run, "/readyz")).status == 200
        assert (await http(run, "/")).status == 404
        assert (await ask_token(run)).json["code"] == "TARGET"
        assert (await http(run, "/readyz", headers=[("host", "evil.example")])).status == 403
        relay.signal(signal.SIGTERM)
        assert (await relay.end())[0] == 0


async def test_it_serves_files_and_targets(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>hello")
    async with backend(echo_bytes) as port:
        file = settings(tmp_path, f"[[targets]]\nname = 'back'\nhost = '127.0.0.1'\nport = {port}\nraw = true\n")
        async with program("wasm", "-c", file, "-s", tmp_path, "-n", "edge", "--log", "json") as relay:
            run: Any = relay
            assert (await http(run, "/")).body == b"<p>hello"
            async with opened(run, target="back") as page:
                await page.send(b"x")
                assert await page.recv() == b"x"
            relay.signal(signal.SIGINT)
            code, log = await relay.end()
            assert code == 0
            assert '"event": "TunnelUp", "op": "dial", "tunnel": "browser1", "target": "back"' in log


async def test_sigterm_lets_tunnels_leave_and_ends_in_time(tmp_path: Path) -> None:
    async with backend(echo_bytes) as port:
        file = settings(
            tmp_path,
            f"[operation]\ndrain = 5\n[[targets]]\nname = 'back'\nhost = '127.0.0.1'\nport = {port}\nraw = true\n",
        )
        async with program("wasm", "-c", file) as relay:
            run: Any = relay
            async with opened(run, target="back") as page:
                await page.send(b"x")
                assert await page.recv() == b"x"
                relay.signal(signal.SIGTERM)
                while (await http(run, "/readyz")).status == 200:
                    pass
                assert (await http(run, "/healthz")).status == 200
                await page.send(b"y")
                assert await page.recv() == b"y"
            started = asyncio.get_running_loop().time()
            assert (await relay.end())[0] == 0
            assert asyncio.get_running_loop().time() - started < 5  # it did not wait for the whole time


async def test_what_does_not_leave_is_closed_with_1001_and_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    async with backend(echo_bytes) as port:
        target = f"[[targets]]\nname = 'back'\nhost = '127.0.0.1'\nport = {port}\nraw = true\n"
        for drain, signals in ((0.2, 1), (8, 2)):
            file = settings(tmp_path, f"[operation]\ndrain = {drain}\n{target}")
            async with program("wasm", "-c", file) as relay:
                run: Any = relay
                async with opened(run, target="back") as page:
                    await page.send(b"x")
                    assert await page.recv() == b"x"
                    relay.signal(signal.SIGTERM)
                    if signals == 2:
                        while (await http(run, "/readyz")).status == 200:
                            pass
                        relay.signal(signal.SIGTERM)
                    code, _ = await ending(page)
                    assert code == 1001 if signals == 1 else code in {1001, 1006, None}
                    assert page.close_reason in {None, "", "SHUTDOWN: the relay stops; dial again"}
                returned, log = await relay.end()
                assert returned == 0
                assert "Traceback" not in log


@pytest.mark.nightly  # eight seconds of nothing, and a deadline that a busy computer may miss
async def test_with_the_time_it_has_by_default_it_is_gone_ten_seconds_after_sigterm(tmp_path: Path) -> None:
    async with backend(echo_bytes) as port:
        target = f"[[targets]]\nname = 'back'\nhost = '127.0.0.1'\nport = {port}\nraw = true\n"
        async with program("wasm", "-c", settings(tmp_path, target)) as relay:
            run: Any = relay
            async with opened(run, target="back") as page:
                await page.send(b"x")
                assert await page.recv() == b"x"
                loop = asyncio.get_running_loop()
                begun = loop.time()
                relay.signal(signal.SIGTERM)
                assert (await ending(page))[0] == 1001
                assert 7.9 < loop.time() - begun < 10
            assert (await relay.end())[0] == 0
            assert loop.time() - begun < 10


@pytest.mark.nightly  # eight seconds of nothing, and a deadline that a busy computer may miss
async def test_it_is_gone_in_time_when_neither_a_page_nor_a_recorder_takes_anything(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as recorder:  # nobody accepts
        async with backend(pour) as port:
            file = settings(
                tmp_path,
                "[dbg]\ningest = true\ndir = 'dumps'\n"
                f"forward = ['ws://127.0.0.1:{recorder.getsockname()[1]}/dbg.ws']\n"
                f"[[targets]]\nname = 'back'\nhost = '127.0.0.1'\nport = {port}\nraw = true\n",
            )
            async with program("wasm", "-c", file) as relay:
                run: Any = relay
                async with RawSocket.opened(run, target="back", receive_buffer=4096) as page:
                    page.send(BINARY, b"x")
                    await page.frame()  # and no more
                    begun = asyncio.get_running_loop().time()
                    relay.signal(signal.SIGTERM)
                    code, log = await relay.end()
                    took = asyncio.get_running_loop().time() - begun
                    assert (code, took < 10) == (0, True), f"{took:.2f} s\n{log}"
                    assert "what has not ended by now is dropped" in log


async def test_sighup_takes_new_targets_over_and_keeps_tunnels(tmp_path: Path) -> None:
    async with backend(echo_bytes) as port:
        target = f"[[targets]]\nname = '{{}}'\nhost = '127.0.0.1'\nport = {port}\nraw = true\n"
        file = settings(tmp_path, target.format("old"))
        async with program("wasm", "-c", file) as relay:
            run: Any = relay
            async with opened(run, target="old") as page:
                await page.send(b"x")
                assert await page.recv() == b"x"
                file.write_text(file.read_text().replace("'old'", "'new'"))
                relay.signal(signal.SIGHUP)
                while (await ask_token(run, id="other", target="new")).status != 200:
                    await asyncio.sleep(0.15)  # what one address may ask for in the long run
                await page.send(b"y")
                assert await page.recv() == b"y"
                file.write_text("[server\n")
                relay.signal(signal.SIGHUP)
                await page.send(b"z")
                assert await page.recv() == b"z"
                assert relay.process.stderr is not None
                async for line in relay.process.stderr:
                    if b"the settings of before stay" in line:
                        assert b"relay.toml:1: " in line
                        break
            relay.signal(signal.SIGTERM)
            assert (await relay.end())[0] == 0


async def test_address_files_go_with_the_process(tmp_path: Path) -> None:
    addresses = tmp_path / "addresses"
    target = "[[targets]]\nname = 'repl'\nhost = '127.0.0.1'\nport = 0\nops = ['listen']\n[operation]\ndrain = 0.1\n"
    async with program("wasm", "-c", settings(tmp_path, target), "-r", addresses) as relay:
        run: Any = relay
        async with opened(run, "repl-browser1", "listen", "repl"):
            while not (addresses / "repl-browser1.addr").exists():
                await asyncio.sleep(0)
            relay.signal(signal.SIGTERM)
            assert (await relay.end())[0] == 0
    assert list(addresses.iterdir()) == []


async def test_rotate_dbg_records_what_programs_send(tmp_path: Path) -> None:
    script = (
        "import sys, asyncmachine as am\n"
        "from asyncmachine.telemetry.dbg.attach import attach\n"
        "machine = am.Machine({'A': {'multi': True}}, id='prog')\n"
        "attachment = attach(machine, sys.argv[1])\n"
        "[machine.add('A') for _ in range(5)]\n"
        "sys.stdin.read()\n"
    )
    async with program("rotate-dbg", "-l", "localhost:0", "-d", tmp_path / "dumps", "-o", "night") as relay:
        run: Any = relay
        assert relay.process.stdout is not None
        told = (await relay.process.stdout.readline()).decode()
        assert told == f"records what machines do into {tmp_path / 'dumps' / 'night'}-*.amdbg\n"
        sender = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, f"127.0.0.1:{relay.port}", stdin=asyncio.subprocess.PIPE
        )
        while b"\nam_relay_dbg_records_total 5.0\n" not in (await http(run, "/metrics")).body:
            await asyncio.sleep(0.01)
        assert sender.stdin is not None
        sender.stdin.close()
        assert await sender.wait() == 0
        relay.signal(signal.SIGTERM)
        assert (await relay.end())[0] == 0
    [path] = (tmp_path / "dumps").iterdir()
    assert path.name.startswith("night-")
    [machine] = summary(path).machines
    assert (machine.id, machine.transitions) == ("prog", 5)


@pytest.mark.parametrize("how", ["file", "variable", "file of a variable"])
async def test_rotate_dbg_listens_where_its_settings_say(how: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {"AM_RELAY_DBG_DIR": str(tmp_path)}
    file = tmp_path / "recorder.toml"
    file.write_text(f"[server]\nport = {port}\n")
    if how == "variable":
        env["AM_RELAY_SERVER_PORT"] = str(port)
    if how == "file of a variable":
        env["AM_RELAY_CONFIG"] = str(file)
    options = ("-c", file) if how == "file" else ()
    async with program("rotate-dbg", *options, env=env) as relay:
        assert relay.origin == f"http://localhost:{port}"
        relay.signal(signal.SIGTERM)
        assert (await relay.end())[0] == 0


async def test_a_relay_is_seen_by_a_debugger_and_a_repl(tmp_path: Path) -> None:
    """Both are asked for by the environment, a debugger by `--debug` too."""
    recorder = program("rotate-dbg", "-l", "127.0.0.1:0", "-d", tmp_path / "dumps")
    async with backend(echo_bytes) as port, recorder as debugger:
        file = settings(tmp_path, f"[[targets]]\nname = 'back'\nhost = '127.0.0.1'\nport = {port}\nraw = true\n")
        env = {"AM_DBG_ADDR": f"127.0.0.1:{debugger.port}", "AM_REPL_ADDR": "1", "AM_REPL_DIR": str(tmp_path / "repl")}
        async with program("wasm", "-c", file, "-n", "edge", env=env) as relay:
            run: Any = relay
            while not (found := list((tmp_path / "repl").glob("*.addr"))):
                await asyncio.sleep(0.01)
            client = rpc.Client(rpc.repl_dial(found[0]), no_schema=True)
            client.start()
            await client.when_ready()
            async with opened(run, target="back") as page:
                await page.send(b"x")
                assert await page.recv() == b"x"
            await client.stop()
            relay.signal(signal.SIGTERM)
            code, log = await relay.end()
            assert code == 0, log
            assert not list((tmp_path / "repl").iterdir())
        debugger.signal(signal.SIGTERM)
        assert (await debugger.end())[0] == 0
    [path] = (tmp_path / "dumps").iterdir()
    seen = {machine.id: machine.transitions for machine in summary(path).machines}
    assert {"relay-edge", "relay-edge-wt-1"} <= set(seen)
    assert seen["relay-edge"] > 3


async def test_debug_says_that_a_debugger_is_looked_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        async with program("wasm", "-l", "127.0.0.1:0", "--debug", env={"AM_DBG_ADDR": address}) as relay:
            nobody.settimeout(30)
            nobody.accept()[0].close()
            relay.signal(signal.SIGTERM)
            assert (await relay.end())[0] == 0


async def test_the_debug_stream_is_for_operators(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("an operator's word of some length")
    word.chmod(0o600)
    file = settings(
        tmp_path, f"proxies = ['127.0.0.1']\n[dbg]\ningest = true\ndir = 'd'\n[operation]\ntoken_file = '{word}'\n"
    )
    stranger = {"x-forwarded-for": "203.0.113.9"}
    async with program("wasm", "-c", file) as relay:
        url = relay.origin.replace("http", "ws") + "/dbg.ws"
        options: dict[str, Any] = {"origin": relay.origin, "proxy": None, "compression": None}
        async with websockets.connect(url, additional_headers=stranger, **options) as page:
            assert await ending(page) == (4401, "AUTH")
        known = {**stranger, "authorization": f"Bearer {word.read_text()}"}
        async with websockets.connect(url, additional_headers=known, **options) as page:
            await page.send(b"no message of the stream")
            assert await ending(page) == (4400, "BAD_FRAME")
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(url, additional_headers=known, **{**options, "origin": "https://evil.example"})
        relay.signal(signal.SIGTERM)
        assert (await relay.end())[0] == 0


# Settings that cannot be


@contextmanager
def cleared_logging() -> Iterator[None]:
    import logging

    logger = logging.getLogger("asyncmachine")
    before = logger.handlers, logger.level, logger.propagate
    try:
        yield
    finally:
        logger.handlers, logger.level, logger.propagate = before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[server]\nprot = 1", "relay.toml:2: server.prot: unknown; did you mean port?"),
        ("[server]\nport = 1\nsecret_file = 'absent'", "relay.toml:3: server.secret_file: "),
        ("[server]\nsecret_file = 'absent'", "No such file or directory; make it with: openssl"),
        ("[server]\nauthorize = 'no_such_module:f'", "No module named 'no_such_module'"),
        ("[operation]\naddress_dir = 'relay.toml'", "is no directory"),
        (
            "[dbg]\ningest = true\nforward = ['http://x']",
            "relay.toml:3: dbg.forward: 'http://x' is no address of a recorder",
        ),
        ("[dbg]\nforward = ['http://x']", "relay.toml:2: dbg.forward: 'http://x' is no address of a recorder"),
        ("[dbg]\ningest = true\nbase = 'a b'", "a dump cannot be called"),
        ("[dbg]\ningest = true\ndir = 'relay.toml/dumps'", "relay.toml:3: dbg.dir: dir "),
    ],
)
def test_check_says_what_is_wrong(text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(text)
    assert main(["relay", "check", str(file)]) == 2
    assert says in capsys.readouterr().err
    with cleared_logging():
        assert main(["relay", "wasm", "-l", "127.0.0.1:0", "-c", str(file)]) == 2 or "is no directory" in says


def test_check_tells_all_mistakes_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the text, and those of files and functions that are not there; in order."""
    file = tmp_path / "relay.toml"
    file.write_text(
        "[operation]\ntoken_file = 'absent'\n[pages]\nroots = ['absent']\n"
        "[server]\nhost = '0.0.0.0'\nsecret_file = 'absent'\nauthorize = 'no_such_module:f'\n"
        "[limits]\nidle = 0\n[dbg]\ningest = true\nforward = ['foo']\n"
    )
    assert main(["relay", "check", str(file)]) == 2
    found = capsys.readouterr().err.splitlines()
    assert [line.removeprefix(f"{file}:").partition(": ")[2].partition(":")[0] for line in found] == [
        "operation.token_file",
        "pages.roots",
        "server.host",
        "server.secret_file",
        "server.authorize",
        "limits.idle",
        "dbg.forward",
    ]
    file.write_text("[[targets]]\nname='a'\nhost='localhost'\nport=1\n[limits]\nxyzzy = 1\n")
    assert main(["relay", "check", str(file)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_check_tells_of_a_host_that_others_can_reach(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "relay.toml"
    file.write_text("[server]\nhost = '0.0.0.0'\n")
    assert main(["relay", "check", str(file)]) == 2
    assert "relay.toml:2: server.host: host '0.0.0.0' can be reached by others" in capsys.readouterr().err
    file.write_text("[server]\nhost = '0.0.0.0'\ninsecure = true\n")
    assert main(["relay", "check", str(file)]) == 0


def test_check_is_content_with_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "relay.toml"
    file.write_text("[[targets]]\nname='a'\nhost='localhost'\nport=1\n")
    assert main(["relay", "check", str(file)]) == 0
    assert capsys.readouterr() == (f"{file}: fine; 1 target, listens on 127.0.0.1:12733\n", "")
    file.write_text("")
    assert main(["relay", "check", str(file)]) == 0
    assert "fine; 0 targets" in capsys.readouterr().out


def test_check_warns_of_a_name_that_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has too many letters, so nobody is asked."""
    file = tmp_path / "relay.toml"
    file.write_text(f"[[targets]]\nname='a'\nhost='{'a' * 64}'\nport=1\n")
    assert main(["relay", "check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "fine; 1 target" in out
    assert err.startswith(f"{file}:3: targets[0].host: warning: target 'a': host 'aaaa")
    assert err.endswith("is not known on this computer\n")


def test_check_warns_of_patterns_of_file_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(
        "[[targets]]\nname='a'\nhost='localhost'\nport=1\nids='page-*'\n"
        "[[meetings]]\nname='b'\nids='page-.*x*'\ncallers='a*-.*_x*'\n"
    )
    assert main(["relay", "check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "fine" in out
    first, second = err.splitlines()
    assert first.startswith(
        f"{file}:5: targets[0].ids: warning: 'page-*' is a regular expression, and does not fit 'page-1'"
    )
    assert first.endswith(": write 'page-.*' if it should")
    assert second.startswith(f"{file}:9: meetings[0].callers: warning: 'a*-.*_x*' is a regular expression")
    assert second.endswith("does not fit 'a1-1_x1': write 'a.*-.*_x.*' if it should")


def test_a_busy_port_and_a_public_host_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with cleared_logging(), socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["relay", "wasm", "-l", f"127.0.0.1:{port}"]) == 2
        assert f"port {port} of 127.0.0.1 is busy" in capsys.readouterr().err
        assert main(["relay", "wasm", "-l", "0.0.0.0:0"]) == 2
        assert "can be reached by others" in capsys.readouterr().err


def test_a_recorder_that_cannot_write_does_not_begin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with cleared_logging():
        assert main(["relay", "rotate-dbg", "-l", "127.0.0.1:0", "-d", str(tmp_path / "file")]) == 2
    assert f"dir {tmp_path / 'file'}: Not a directory; give a directory that" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("24h", 86400), ("7d", 604800)])
def test_times(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1h", "0", "1w", "inf", "nan", "h1"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no time"):
        duration(text)


def test_addresses() -> None:
    assert address("localhost:80") == ("localhost", 80)
    assert address("[::1]:80") == ("::1", 80)
    assert address(":80") == ("127.0.0.1", 80)
    for wrong in ("", "80x", "host", "host:", "host:99999", "host:-1"):
        with pytest.raises(argparse.ArgumentTypeError, match="is no address"):
            address(wrong)
