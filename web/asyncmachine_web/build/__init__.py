"""Native: what a server needs to give a page its files."""

from asyncmachine_web.build.compress import compress
from asyncmachine_web.build.node import NodeFailed
from asyncmachine_web.build.snapshot import snapshot
from asyncmachine_web.build.sources import pack
from asyncmachine_web.build.static import static_folder

__all__ = ["NodeFailed", "compress", "pack", "snapshot", "static_folder"]
