"""Figures: `python -m bench.NAME [--json FILE]` measures one thing and prints a row for each figure (see report).

They are printed, never asserted: a machine's load is no bug.
"""
