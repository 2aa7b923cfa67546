"""The debug stream: every transition of a machine, to a recorder elsewhere.

::

    dbg.debug_env(machine)                        # what the environment says: AM_DBG_ADDR, AM_LOG, AM_LOG_FULL, …
    dbg.attach(machine, "1")                      # to ws://localhost:6831/dbg.ws, with all children of the machine

    recorder = dbg.Recorder(dbg.RotatingDumps(Path("dumps")))
    await recorder.serve(transport)               # whoever has accepted the connection

    dbg.summary("dump.amdbg").to_dict()

Where to read on, in the order data flows: `tracer` notes, `outbox` keeps, `feed` and `packing` make `messages`,
`sender` and `line` send them; `stream` judges what arrives, `recorder` writes it with `dumps` and `amdbg`, `replay` and
`records` read it. A watched machine never waits and never fails because of it, arguments are told by type and size
unless a mapper says otherwise (`texts`), and everything has an end: outbox, frames, files.
"""

from asyncmachine.telemetry.dbg.address import url_of
from asyncmachine.telemetry.dbg.amdbg import SUFFIX, DumpReader, DumpRecord, DumpWriter, Header, open_dump
from asyncmachine.telemetry.dbg.attach import Attachment, attach, debug_env
from asyncmachine.telemetry.dbg.dumps import Output, RotatingDumps, Rotation, SingleDump
from asyncmachine.telemetry.dbg.errors import AddressError, DbgError, DumpError, StreamFault, Unsendable
from asyncmachine.telemetry.dbg.forward import ForwardLimits
from asyncmachine.telemetry.dbg.outbox import OutboxLimits
from asyncmachine.telemetry.dbg.recorder import Inlet, Recorder, RecorderLimits, RecorderStatistics
from asyncmachine.telemetry.dbg.records import Record
from asyncmachine.telemetry.dbg.replay import (
    ErrorSummary,
    MachineSummary,
    Replay,
    Summary,
    Told,
    summary,
    transitions,
)
from asyncmachine.telemetry.dbg.sender import Sender, SenderOptions, SenderStatistics
from asyncmachine.telemetry.dbg.tracer import DbgTracer

__all__ = [
    "SUFFIX",
    "AddressError",
    "Attachment",
    "DbgError",
    "DbgTracer",
    "DumpError",
    "DumpReader",
    "DumpRecord",
    "DumpWriter",
    "ErrorSummary",
    "ForwardLimits",
    "Header",
    "Inlet",
    "MachineSummary",
    "OutboxLimits",
    "Output",
    "Record",
    "Recorder",
    "RecorderLimits",
    "RecorderStatistics",
    "Replay",
    "RotatingDumps",
    "Rotation",
    "Sender",
    "SenderOptions",
    "SenderStatistics",
    "SingleDump",
    "StreamFault",
    "Summary",
    "Told",
    "Unsendable",
    "attach",
    "debug_env",
    "open_dump",
    "summary",
    "transitions",
    "url_of",
]
