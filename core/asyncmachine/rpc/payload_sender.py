"""How an application sends payloads: the same from a server and from a mux."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncmachine.machine.drain import Source, source_of
from asyncmachine.rpc.remote_result import Delivery
from asyncmachine.rpc.sending import Sending


class PayloadSender:
    """Gives a server and a mux their `send_payload`."""

    def send_payload(
        self,
        name: str,
        data: Any,
        e: Source = None,
        destination: str = "",
        meta: Mapping[str, Any] | None = None,
        *,
        within: float | None = None,
    ) -> Delivery:
        """Sends data to a client's consumer: now or once there is a client, and again after a reconnect until taken.

        Awaited, the result tells that the consumer has accepted it, or raises `DeliveryFailed`: also, with the code
        DEADLINE, if that has not happened `within` so many seconds (None: it waits until the server stops, or the
        session of its client is forgotten, since a short time would lose what a cut only delays). Meanwhile it tells
        how far it has come. `e` stamps the payload with the machine and transition it comes from. Raises `Unsendable`
        for data that would not arrive equal and for names that are too long, `TooLarge` beyond `max_payload`. Payloads
        of one name arrive in their order; one that is in chunks lets those of other names pass. Raises `InvalidArgs`
        for a `within` that is no number of seconds, or less than 0.

        `destination` is the id of the client. From a mux, and from a server with several clients, a payload without one
        is for the client whose mutation is being handled; there has to be one. A mux sends to a client wherever it is:
        it may be away, or come. Raises `DeliveryFailed` if a server for one client has another, and `TypeError` from a
        mux whose servers are made by a function: then they send, each to its own client.
        """
        sending, client = self._sender(destination)
        return sending.send(name, data, source_of(e), client, meta, within)

    def _sender(self, destination: str) -> tuple[Sending, str]:
        """Who sends, and the id of the client (empty: as `Clients` has it)."""
        raise NotImplementedError
