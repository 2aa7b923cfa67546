"""Our relay with one raw target, as a program, on the loop that `am relay` takes. Limits are raised, checks are on."""

import asyncio
import signal
import sys

from asyncmachine_relay import Limits, Relay, RelayServer, Target, bind
from asyncmachine_relay.loops import loop_factory

PROFILE = Limits(
    tunnels=20_000,
    tunnels_per_peer=20_000,
    sockets=20_000,
    sockets_per_peer=20_000,
    opens_per_second=1_000_000,
    opens_burst=1_000_000,
    bytes_per_second=1 << 40,
    frames_per_second=1 << 40,
    hello=3600,
    idle=3600,
)


async def main() -> None:
    port, backend = map(int, sys.argv[1:])
    relay = Relay(targets=[Target("backend", "127.0.0.1", backend, raw=True)], limits=PROFILE)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with RelayServer(relay, bind(port=port)):
        await stop.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
