"""Helpers on top of the machine: pipes between machines."""
