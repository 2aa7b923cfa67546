"""Helpers on top of the machine; everyday names are `am.helpers.…`.

===================  ===================================================================================================
`common`             a machine set up by the environment
`pipes`              states of one machine follow those of another; `am.pipes`
`mirror`             a small machine that follows some states of another one
`waiting`            for several things, for a time, unless the machine errs
`mutations`          that are waited for, or asked before they are made
`requests`           mutations that are tried again
`questions`          and their answers; `getters` for other threads
`batch`              many inputs, one mutation
`loops`              guards against spinning
`cond`, `groups`     conditions as data, several machines as one
`schemas`, `tags`    compared, counted, copied
`disposal`           the way a machine's states want it
`handlers`           ready-made
`log_args`, `logs`   what is told about arguments, and where to
`arg_texts`          typed arguments from texts
`env`, `health`      where the program runs, and signs of life
`testing`            assertions
===================  ===================================================================================================
"""

from asyncmachine.helpers import pipes
from asyncmachine.helpers.arg_texts import ArgTexts, args_names, args_unmarshal
from asyncmachine.helpers.batch import Batcher
from asyncmachine.helpers.common import new_common
from asyncmachine.helpers.cond import Cond
from asyncmachine.helpers.disposal import dispose, dispose_bind
from asyncmachine.helpers.env import (
    enable_debugging,
    is_debug,
    is_telemetry,
    is_test_runner,
    is_wasi,
    is_wasm,
    set_env_log_level,
)
from asyncmachine.helpers.errors import MachineErred, MutationCanceled
from asyncmachine.helpers.getters import eval_getter
from asyncmachine.helpers.groups import MachGroup
from asyncmachine.helpers.handlers import handler_to_state, remove_multi
from asyncmachine.helpers.health import healthcheck
from asyncmachine.helpers.log_args import Logged, args_to_log_map, log_args
from asyncmachine.helpers.logs import MachineLogHandler, file_output, log_env, logger_output
from asyncmachine.helpers.loops import EndlessLoop, StateLoop
from asyncmachine.helpers.mirror import new_mirror
from asyncmachine.helpers.mutations import (
    add_async,
    add_sync,
    ask_add,
    ask_remove,
    cant_add,
    cant_remove,
    remove_sync,
)
from asyncmachine.helpers.questions import Reply, answer, ask, fail
from asyncmachine.helpers.requests import MutRequest, Policy, retry
from asyncmachine.helpers.results import executed
from asyncmachine.helpers.schemas import (
    copy_schema,
    count_relations,
    implements,
    is_multi,
    missing_states,
    schema_hash,
    transition_states,
)
from asyncmachine.helpers.tags import tag_value, tag_value_int
from asyncmachine.helpers.testing import (
    assert_err,
    assert_is,
    assert_no_err_ever,
    assert_no_err_now,
    assert_no_err_queued,
    assert_not,
)
from asyncmachine.helpers.waiting import all_or_err, any_or_err, group_when, interval, sleep

__all__ = [
    "ArgTexts",
    "Batcher",
    "Cond",
    "EndlessLoop",
    "Logged",
    "MachGroup",
    "MachineErred",
    "MachineLogHandler",
    "MutRequest",
    "MutationCanceled",
    "Policy",
    "Reply",
    "StateLoop",
    "add_async",
    "add_sync",
    "all_or_err",
    "answer",
    "any_or_err",
    "args_names",
    "args_to_log_map",
    "args_unmarshal",
    "ask",
    "ask_add",
    "ask_remove",
    "assert_err",
    "assert_is",
    "assert_no_err_ever",
    "assert_no_err_now",
    "assert_no_err_queued",
    "assert_not",
    "cant_add",
    "cant_remove",
    "copy_schema",
    "count_relations",
    "dispose",
    "dispose_bind",
    "enable_debugging",
    "eval_getter",
    "executed",
    "fail",
    "file_output",
    "group_when",
    "handler_to_state",
    "healthcheck",
    "implements",
    "interval",
    "is_debug",
    "is_multi",
    "is_telemetry",
    "is_test_runner",
    "is_wasi",
    "is_wasm",
    "log_args",
    "log_env",
    "logger_output",
    "missing_states",
    "new_common",
    "new_mirror",
    "pipes",
    "remove_multi",
    "remove_sync",
    "retry",
    "schema_hash",
    "set_env_log_level",
    "sleep",
    "tag_value",
    "tag_value_int",
    "transition_states",
]
