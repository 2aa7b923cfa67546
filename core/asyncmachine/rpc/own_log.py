"""The logs of the machines that clients, servers and muxes are themselves: switched on by the environment.

==========================  ==========================================================================================
variable                    whose machine is logged
==========================  ==========================================================================================
AM_RPC_LOG_SERVER           each `Server`'s, those of a `Mux` included
AM_RPC_LOG_CLIENT           each `Client`'s
AM_RPC_LOG_CLIENT_VERBOSE   the same with everything there is to tell, whatever `AM_LOG` says
AM_RPC_LOG_MUX              each `Mux`'s
==========================  ==========================================================================================

They are read when a client, server or mux is made. Lines go to the standard output, or with `AM_LOG_FILE` to a file
named after the machine. `AM_LOG` is the level; without it changes of states are told, and errors. They are made out
of sight, so the variables do alone what `helpers.log_env` does for the machines of an application.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from asyncmachine.helpers.logs import log_env
from asyncmachine.machine.levels import CHANGES, EVERYTHING, LogLevel
from asyncmachine.machine.machine import Machine
from asyncmachine.machine.settings import Settings, flag

VERBOSE: Final = "_VERBOSE"
VARIABLES: Final = MappingProxyType(
    {"rpc-server": "AM_RPC_LOG_SERVER", "rpc-client": "AM_RPC_LOG_CLIENT", "rpc-mux": "AM_RPC_LOG_MUX"}
)
"""By the tag of the machine."""


def own_log(machine: Machine[Any], tag: str, env: Mapping[str, str] | None = None) -> None:
    """Switches the log of one of these machines on if the environment says so."""
    env = os.environ if env is None else env
    name = VARIABLES[tag]
    verbose = tag == "rpc-client" and flag(env, name + VERBOSE)
    if not (verbose or flag(env, name)):
        return
    settings = Settings.from_env(env)
    level = EVERYTHING if verbose else settings.log_level or CHANGES
    log_env(machine, replace(settings, log_level=level, log_print=True))
    if not settings.log_file:
        machine.log.show_id = False  # five characters of it tell no connection from another
        machine.log.output = partial(_print, machine.id)


def _print(id: str, _: LogLevel, line: str) -> None:
    sys.stdout.write(f"[{id}] {line}\n")
