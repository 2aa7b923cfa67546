"""The machine: states, relations between them, mutations, transitions, clocks and waits. Standard library only.

Where to read on, in the order data flows: `mutation`, `queue` and `drain` (who carries it out), `relations` and `plan`
(where it leads), `transition` (its phases), `handlers` (what they call), `subscriptions` and `scope` (who is told),
`log` and `steps` (what is told about it).

Beside that path: `schema`, `verify` and `rules` (what states are, before and after compiling), `strict` (the other
resolver); `reading`, `view` and `machine` (what can be asked and done, one on top of the other); `recovery`, `watchdog`
and `endless` (handlers that raise, hang, or call each other for ever); `tasks` and `pool` (those that are coroutines);
`narrator` and `explain` (the lines of the log).
"""

from asyncmachine.machine.api import Api
from asyncmachine.machine.args import Args, ErrorArgs
from asyncmachine.machine.decorators import on, pool, scoped
from asyncmachine.machine.endless import EndlessChain
from asyncmachine.machine.errors import (
    AmError,
    Disposed,
    HandlerDeadline,
    HandlerError,
    HandlerTimeout,
    InvalidArgs,
    PendingResult,
    QueryFailed,
    SchemaError,
    ScopeEnded,
    StateMissing,
    WaitCanceled,
    WaitTimeout,
)
from asyncmachine.machine.event import Event
from asyncmachine.machine.export import Export
from asyncmachine.machine.levels import LogEntry, LogLevel, Sem
from asyncmachine.machine.log import Log
from asyncmachine.machine.log_args import merge_log_args_mappers, new_log_args_mapper
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.mutation import Mutation, MutationSource
from asyncmachine.machine.options import Options
from asyncmachine.machine.result import CANCELED, EXECUTED, FinalResult, Outcome, Result
from asyncmachine.machine.schema import Schema, State, StatesDef, group, state
from asyncmachine.machine.scope import Scope
from asyncmachine.machine.settings import Settings
from asyncmachine.machine.signature import ARGS_REQUIRED, CallSignature
from asyncmachine.machine.steps import Relation, Step, StepType
from asyncmachine.machine.tracer import Tracer
from asyncmachine.machine.transition import Transition
from asyncmachine.machine.view import View
from asyncmachine.machine.wait import Wait, wait_all, wait_any

__all__ = [
    "ARGS_REQUIRED",
    "CANCELED",
    "EXECUTED",
    "AmError",
    "Api",
    "Args",
    "CallSignature",
    "Disposed",
    "EndlessChain",
    "ErrorArgs",
    "Event",
    "Export",
    "FinalResult",
    "HandlerDeadline",
    "HandlerError",
    "HandlerTimeout",
    "InvalidArgs",
    "Log",
    "LogEntry",
    "LogLevel",
    "Machine",
    "Mutation",
    "MutationSource",
    "Options",
    "Outcome",
    "PendingResult",
    "QueryFailed",
    "Relation",
    "Result",
    "Schema",
    "SchemaError",
    "Scope",
    "ScopeEnded",
    "Sem",
    "Settings",
    "State",
    "StateMissing",
    "StatesDef",
    "Step",
    "StepType",
    "Tracer",
    "Transition",
    "View",
    "Wait",
    "WaitCanceled",
    "WaitTimeout",
    "group",
    "merge_log_args_mappers",
    "new_log_args_mapper",
    "on",
    "pool",
    "scoped",
    "state",
    "wait_all",
    "wait_any",
]
