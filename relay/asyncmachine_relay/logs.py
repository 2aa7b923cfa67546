"""Log lines for machines: one JSON object each, of a closed list of fields.

Nothing gets into a line by accident: what a record carries beside these fields is left out, and neither tokens nor
payloads are among them.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

FIELDS = ("event", "op", "tunnel", "target", "peer", "reason")
"""What the relay adds to a record with `extra`."""


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "message", …}` with the fields that are there, and `error` with the stack of one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: str(getattr(record, name)) for name in FIELDS if hasattr(record, name)})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(style: str) -> None:
    """Sends the relay's lines to standard error, as `json` or `text`."""
    handler = logging.StreamHandler()
    if style == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("asyncmachine")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
