"""asyncmachine: relational, clock-based state machines that stay in sync across browser and back end.

Everyday use is `import asyncmachine as am`. Sub-packages: `machine` (the core, standard library only), `states`
(ready-made schemas), `helpers` (what is written again and again around machines; `pipes` among them), `rpc` (machines
across a network; imports msgspec and is not loaded from here).
"""

from asyncmachine import helpers, states
from asyncmachine.helpers import pipes
from asyncmachine.helpers.pipes import Pipe
from asyncmachine.machine import *  # noqa: F403
from asyncmachine.machine import __all__ as _machine_names

__version__ = "0.1.0"

__all__ = [*_machine_names, "Pipe", "helpers", "pipes", "states"]  # noqa: PLE0604
