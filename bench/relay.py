"""The relay against a bare tunnel, `websockify` and plain TCP: what a tunnel adds, and what its checks cost.

All are programs of their own with the same backend and the same client. Servers have one core, client and backend the
other. `plain TCP` is the client at the backend, with nothing in between. Figures are the best of several turns, taken
in turn, so that a noisy moment hits all alike. Processor time of an open is what the server's process took, by its own
clock: how busy the computer is counts less there. Tokens are asked for on a connection that is kept, as browsers do.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from asyncmachine_relay import Limits
from bench.report import Row, main, row
from bench.tunnels.client import CHUNK, MIB, Way
from tests.ports import free_port

ROOT = Path(__file__).parent.parent
HERE = ROOT / "bench" / "tunnels"

TURNS = 5
ECHOES = 1500
BULK = 96 * MIB
BULK_TURNS = 10
"""More of them: a computer that is shared is half as fast for seconds at a time, and the best of few is then luck."""
OPENS = 60
OPEN_TURNS = 12
TOGETHER = 4
"""Tunnels that a page opens at a time; it asks for their tokens with one request."""
IDLE = 300
SIZE = 64


def rows() -> Iterator[Row]:
    """All figures."""
    from bench.tunnels.ours import PROFILE

    changed = {name: value for name, value in asdict(PROFILE).items() if value != asdict(Limits())[name]}
    print(f"profile: every check on; limits raised: {changed}", file=sys.stderr)
    cores = sorted(os.sched_getaffinity(0))
    servers, others = {cores[0]}, {cores[-1]}
    os.sched_setaffinity(0, others)
    with ExitStack() as stack:
        backend = free_port()
        stack.enter_context(_program([HERE / "backend.py", backend], backend, others))
        direct = Way("plain TCP", backend, "tcp")
        bare = Way("bare tunnel", free_port(), "bare")
        ours = Way("ours", free_port(), "ours")
        sock = Way("websockify", free_port(), "bare")
        asking = Way("bare tunnel, bare token", free_port(), "ours")
        plain = stack.enter_context(_program([HERE / "bare.py", bare.port, backend], bare.port, servers))
        asked = stack.enter_context(_program([HERE / "bare.py", asking.port, backend], asking.port, servers))
        relay = stack.enter_context(_program([HERE / "ours.py", ours.port, backend], ours.port, servers))
        command = ["-m", "websockify", f"127.0.0.1:{sock.port}", f"127.0.0.1:{backend}"]
        stack.enter_context(_program(command, sock.port, servers))
        everybody = (direct, bare, ours, sock)

        trips = _best(everybody, _round_trip, min)
        added = {name: value - trips["plain TCP"] for name, value in trips.items() if name != "plain TCP"}
        yield _row("added round trip, 64 B", "µs", added, aim="ratio >= 0.8")
        yield row("plain TCP round trip", "µs", trips["plain TCP"])
        for name, measure in (("bulk, page to target", _up), ("bulk, target to page", _down)):
            found = _best(everybody, measure, max, BULK_TURNS)
            yield _row(name, "MB/s", found, aim="ratio >= 0.85", more=True)
        servers_of = {bare.name: plain.pid, asking.name: asked.pid, ours.name: relay.pid}
        alike = (bare, asking, ours)
        for name, together, ways in (
            (f"{TOGETHER} tokens a request", TOGETHER, alike),
            ("one token a request", 1, (*alike, sock)),
        ):
            times, costs = _opens(ways, servers_of, together)
            yield _row(f"opens per second, {name}", "1/s", times, aim="ratio >= 0.6", more=True)
            yield _row(f"processor time of an open, {name}", "µs", costs)
        yield row("memory of an idle tunnel", "KB", _memory(ours, relay), aim="ours <= 48")


def _row(name: str, unit: str, found: Mapping[str, float], *, aim: str | None = None, more: bool = False) -> Row:
    """Ours beside all others. The ratio is to the bare tunnel: it is what the checks cost that is asked."""
    made = row(name, unit, found["ours"], peers={"bare": found["bare tunnel"]}, aim=aim, more_is_better=more)
    return replace(made, peers={peer: value for peer, value in found.items() if peer != "ours"})


def _best(
    ways: tuple[Way, ...],
    measure: Callable[[Way], float],
    choose: Callable[[list[float]], float],
    turns: int = TURNS,
) -> dict[str, float]:
    found: dict[str, list[float]] = {way.name: [] for way in ways}
    for _ in range(turns):
        for way in ways:
            found[way.name].append(measure(way))
    return {name: choose(values) for name, values in found.items()}


def _round_trip(way: Way) -> float:
    """Microseconds for 64 bytes there and back: the median of many."""
    with way.open() as link:
        link.socket.sendall(link.frame(b"e"))
        frame = link.frame(bytes(SIZE))
        for _ in range(100):
            link.echo(frame, SIZE)
        times = []
        for _ in range(ECHOES):
            begun = time.perf_counter()
            link.echo(frame, SIZE)
            times.append(time.perf_counter() - begun)
    return sorted(times)[len(times) // 2] * 1e6


def _up(way: Way) -> float:
    """Megabytes a second towards the backend, until it has them all."""
    with way.open() as link:
        frame = link.frame(bytes(CHUNK))
        link.socket.sendall(link.frame(b"s" + BULK.to_bytes(8, "big")))
        begun = time.perf_counter()
        for _ in range(BULK // CHUNK):
            link.socket.sendall(frame)
        link.exactly(link.head(4) + 4)
        return BULK / (time.perf_counter() - begun) / 1e6


def _down(way: Way) -> float:
    """Megabytes a second towards the page. Heads of frames are counted along: they are a few in a thousand."""
    with way.open() as link:
        buffer = bytearray(1 << 20)
        begun = time.perf_counter()
        link.socket.sendall(link.frame(b"p" + BULK.to_bytes(8, "big")))
        left = BULK
        while left > 0:
            left -= link.socket.recv_into(buffer)
        return BULK / (time.perf_counter() - begun) / 1e6


def _opens(
    ways: tuple[Way, ...], servers: Mapping[str, int], together: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Tunnels a second, and microseconds of processor time for each, where the server is one process."""
    rates: dict[str, list[float]] = {way.name: [] for way in ways}
    costs: dict[str, list[float]] = {way.name: [] for way in ways if way.name in servers}
    for _ in range(OPEN_TURNS):
        for way in ways:
            before = _processor_time(servers.get(way.name))
            rates[way.name].append(_open_many(way, together))
            if way.name in costs:
                costs[way.name].append((_processor_time(servers[way.name]) - before) / OPENS * 1e6)
    return {name: max(found) for name, found in rates.items()}, {name: min(found) for name, found in costs.items()}


def _open_many(way: Way, together: int) -> float:
    """Tunnels a second, one after the other: token, upgrade, connection to the backend, one byte back, end."""
    begun = time.perf_counter()
    for start in range(0, OPENS, together):
        ids = [f"bench{number}" for number in range(start, start + together)]
        tokens = way.tokens(ids) if way.kind == "ours" else [""] * together
        for name, using in zip(ids, tokens, strict=True):
            with way.open(name, using) as link:
                link.echo(link.frame(b"ex"), 1)
    return OPENS / (time.perf_counter() - begun)


def _processor_time(pid: int | None) -> float:
    """Seconds that a process has taken (Linux: a clock of another process is named by its number)."""
    return 0.0 if pid is None else time.clock_gettime(~pid << 3 | 2)


def _memory(way: Way, process: subprocess.Popen[bytes]) -> float:
    """Kilobytes that the relay's process grows by for each tunnel that is open and silent."""
    with ExitStack() as stack:
        for number in range(50):
            stack.enter_context(way.open(f"warm{number}"))
    time.sleep(1)
    with ExitStack() as stack:
        before = _resident(process.pid)
        for number in range(IDLE):
            link = stack.enter_context(way.open(f"idle{number}"))
            link.echo(link.frame(b"ex"), 1)
        return (_resident(process.pid) - before) / IDLE


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


@contextmanager
def _program(command: Sequence[object], port: int, cores: set[int]) -> Iterator[subprocess.Popen[bytes]]:
    """A program on these cores, from when its port is open."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),  # noqa: PLW1509 (there are no threads here)
    )
    try:
        for _ in range(300):
            if process.poll() is not None:
                raise RuntimeError(f"{command} ended with {process.returncode}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main("relay", rows))
