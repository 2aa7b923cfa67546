"""What /metrics tells: counts of the relay since its start, read when somebody asks.

Labels are taken from closed lists (ops, reasons, directions), never from what a peer sends, so their number is fixed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncmachine.telemetry.dbg.recorder import RecorderStatistics
from asyncmachine_relay.policy import Op, Reason
from asyncmachine_relay.websocket import TransportStatistics

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


@dataclass
class Counts:
    """Of the relay's whole life. Traffic is that of tunnels that have ended; open ones have their own counters."""

    opened: Counter[Op] = field(default_factory=Counter)
    refused: Counter[Reason] = field(default_factory=Counter)
    torn: Counter[Op] = field(default_factory=Counter)
    frames_in: int = 0
    frames_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def add(self, traffic: TransportStatistics) -> None:
        """Keeps the counts of a tunnel that has ended."""
        self.frames_in += traffic.frames_in
        self.frames_out += traffic.frames_out
        self.bytes_in += traffic.bytes_in
        self.bytes_out += traffic.bytes_out


@dataclass(frozen=True)
class Snapshot:
    """The relay now."""

    open: Counter[Op]
    congested: int
    draining: bool
    traffic: Iterable[TransportStatistics]
    agreed: bool = True
    recorder: RecorderStatistics | None = None


def render(counts: Counts, now: Snapshot) -> tuple[bytes, str]:
    """(body, media type) of an answer. Needs the package prometheus-client."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class Now(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from _metrics(counts, now)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Now())
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _metrics(counts: Counts, now: Snapshot) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    tunnels = GaugeMetricFamily("am_relay_tunnels", "Tunnels that are open.", labels=["op"])
    opened = CounterMetricFamily("am_relay_tunnels_opened", "Tunnels that were opened.", labels=["op"])
    torn = CounterMetricFamily("am_relay_tunnels_torn", "Tunnels that ended without a close frame.", labels=["op"])
    for op in Op:
        tunnels.add_metric([op.value], now.open[op])
        opened.add_metric([op.value], counts.opened[op])
        torn.add_metric([op.value], counts.torn[op])
    refused = CounterMetricFamily("am_relay_refused", "Requests and tunnels refused or ended.", labels=["reason"])
    for reason in Reason:
        refused.add_metric([reason.name], counts.refused[reason])
    total = Counts(
        frames_in=counts.frames_in,
        frames_out=counts.frames_out,
        bytes_in=counts.bytes_in,
        bytes_out=counts.bytes_out,
    )
    waiting = 0
    for traffic in now.traffic:
        total.add(traffic)
        waiting += traffic.bytes_waiting
    frames = CounterMetricFamily("am_relay_frames", "Messages of tunnels.", labels=["direction"])
    sizes = CounterMetricFamily("am_relay_bytes", "Bytes of these messages.", labels=["direction"])
    for direction, count, size in (
        ("in", total.frames_in, total.bytes_in),
        ("out", total.frames_out, total.bytes_out),
    ):
        frames.add_metric([direction], count)
        sizes.add_metric([direction], size)
    yield from (tunnels, opened, torn, refused, frames, sizes)
    yield GaugeMetricFamily("am_relay_bytes_waiting", "Bytes received and not yet taken.", value=waiting)
    yield GaugeMetricFamily("am_relay_congested", "Tunnels in which one side waits for the other.", value=now.congested)
    yield GaugeMetricFamily("am_relay_draining", "1 while the relay lets its tunnels leave.", value=int(now.draining))
    yield GaugeMetricFamily("am_relay_agreed", "0 while the other relays cannot be asked.", value=int(now.agreed))
    if now.recorder is not None:
        yield from _recorded(now.recorder)


def _recorded(found: RecorderStatistics) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily("am_relay_dbg_senders", "Senders of the debug stream.", value=found.connections)
    yield GaugeMetricFamily("am_relay_dbg_machines", "Machines that they tell of.", value=found.machines)
    for name, what, count in (
        ("records", "Records taken.", found.records),
        ("lost", "Records that senders told of having dropped.", found.lost),
        ("faults", "Senders that were closed for what they sent.", found.faults),
        ("files", "Files finished.", found.files),
        (
            "output_failures",
            "Files that could not be written; for a minute after each nothing is.",
            found.output_failures,
        ),
        ("forward_dropped", "Frames that were not sent on.", found.forward_dropped),
    ):
        yield CounterMetricFamily(f"am_relay_dbg_{name}", what, value=count)
