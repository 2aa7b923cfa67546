"""The relay: serves a page and carries its tunnels into this process. Start with `Relay` and `RelayServer`."""

from asyncmachine_relay.admission import Authorize, own_machine
from asyncmachine_relay.app import Relay
from asyncmachine_relay.cluster_config import Cluster
from asyncmachine_relay.config import Config
from asyncmachine_relay.grants import EVERY_TUNNEL, TunnelGrants
from asyncmachine_relay.limits import Limits
from asyncmachine_relay.matchers import Match, Serve, Tunnel
from asyncmachine_relay.meetings import Meeting
from asyncmachine_relay.policy import Op, Reason, Refused, RelayConfigError
from asyncmachine_relay.server import Bound, PortBusy, RelayServer, bind
from asyncmachine_relay.states import RelayStates, TunnelArgs
from asyncmachine_relay.static import StaticRoot
from asyncmachine_relay.targets import Target

__all__ = [
    "EVERY_TUNNEL",
    "Authorize",
    "Bound",
    "Cluster",
    "Config",
    "Limits",
    "Match",
    "Meeting",
    "Op",
    "PortBusy",
    "Reason",
    "Refused",
    "Relay",
    "RelayConfigError",
    "RelayServer",
    "RelayStates",
    "Serve",
    "StaticRoot",
    "Target",
    "Tunnel",
    "TunnelArgs",
    "TunnelGrants",
    "bind",
    "own_machine",
]
