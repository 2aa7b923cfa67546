"""Native: what a server needs to give a page its files."""

from asyncmachine_web.build.compress import compress
from asyncmachine_web.build.node import NodeFailed
from asyncmachine_web.build.runtime import vendor_folder
from asyncmachine_web.build.scaffold import new_app
from asyncmachine_web.build.site import Project, build
from asyncmachine_web.build.snapshot import snapshot
from asyncmachine_web.build.sources import pack
from asyncmachine_web.build.static import static_folder

__all__ = [
    "NodeFailed",
    "Project",
    "build",
    "compress",
    "new_app",
    "pack",
    "snapshot",
    "static_folder",
    "vendor_folder",
]
