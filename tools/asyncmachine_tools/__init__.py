"""The `am` command. Other packages add subcommands by the entry point group `asyncmachine.commands`."""
