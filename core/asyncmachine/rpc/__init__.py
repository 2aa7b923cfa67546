"""aRPC: a machine elsewhere, as if it were here.

::

    server = rpc.Server(source)                          # exposes a machine
    await server.serve(transport)                        # to whoever is at the other end

    client = rpc.Client(dial, schema=Download)           # mirrors it
    client.start()
    await client.when_ready()
    await client.netmach.add("Downloading")              # runs at the source, and shows here

    mux = rpc.Mux(source, "tcp://127.0.0.1:0")           # to many, at an address
    mux.start()
    await mux.when_ready()
    client = rpc.Client(mux.address, Download)           # or a function that connects

Where to read on: `legality` (who may say what when), `session` (one conversation, without a socket), `clock` (what
travels), `connection` (a session on a transport), then the shells: `server` with `arriving`, `served` and `running`,
`mux` for many clients, `client` with `connecting` and `consuming`, and `netmach`, the mirror. Payloads: `sending`,
`stranded`, `convoy` and `chunks`. Transports are in `transport`.
"""

from asyncmachine.rpc import states
from asyncmachine.rpc.backoff import Backoff
from asyncmachine.rpc.client import Client
from asyncmachine.rpc.counters import Statistics
from asyncmachine.rpc.errors import (
    CallRefused,
    CallTimedOut,
    Code,
    DeliveryFailed,
    ForeignSource,
    HandshakeFailed,
    ListenerFailed,
    Misuse,
    NotConnected,
    Overloaded,
    PeerFault,
    PeerSilent,
    Rejected,
    RemoteError,
    RpcError,
    SourceRestarted,
    TickRange,
    TooLarge,
    UnknownOutcome,
    Unsendable,
)
from asyncmachine.rpc.grants import Grants
from asyncmachine.rpc.mux import Mux
from asyncmachine.rpc.netmach import NetworkMachine
from asyncmachine.rpc.remote_result import Delivery
from asyncmachine.rpc.repl import ReplHook, repl_hook
from asyncmachine.rpc.repl_files import repl_address, repl_dial
from asyncmachine.rpc.server import Server
from asyncmachine.rpc.states import Consumer, ServerDelivering, ServerPayload, StateSource
from asyncmachine.rpc.timing import Timing
from asyncmachine.rpc.tracing import ContextTracing, Tracing
from asyncmachine.rpc.transport import (
    MAX_FRAME,
    CertificateRefused,
    Dial,
    Listen,
    Listener,
    Peer,
    Transport,
    TransportClosed,
)
from asyncmachine.rpc.transport.addresses import AddressError, dial, listen

__all__ = [
    "MAX_FRAME",
    "AddressError",
    "Backoff",
    "CallRefused",
    "CallTimedOut",
    "CertificateRefused",
    "Client",
    "Code",
    "Consumer",
    "ContextTracing",
    "Delivery",
    "DeliveryFailed",
    "Dial",
    "ForeignSource",
    "Grants",
    "HandshakeFailed",
    "Listen",
    "Listener",
    "ListenerFailed",
    "Misuse",
    "Mux",
    "NetworkMachine",
    "NotConnected",
    "Overloaded",
    "Peer",
    "PeerFault",
    "PeerSilent",
    "Rejected",
    "RemoteError",
    "ReplHook",
    "RpcError",
    "Server",
    "ServerDelivering",
    "ServerPayload",
    "SourceRestarted",
    "StateSource",
    "Statistics",
    "TickRange",
    "Timing",
    "TooLarge",
    "Tracing",
    "Transport",
    "TransportClosed",
    "UnknownOutcome",
    "Unsendable",
    "dial",
    "listen",
    "repl_address",
    "repl_dial",
    "repl_hook",
    "states",
]
