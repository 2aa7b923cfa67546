"""Native: what a server needs to give a page its files."""

from asyncmachine_web.build.sources import pack
from asyncmachine_web.build.static import static_folder

__all__ = ["pack", "static_folder"]
