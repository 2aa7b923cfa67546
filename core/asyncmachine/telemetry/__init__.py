"""What machines tell to the outside world. `dbg` is the debug stream: every transition, to a recorder."""
