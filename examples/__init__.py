"""Programs that show the library at work, each with its own short README."""
