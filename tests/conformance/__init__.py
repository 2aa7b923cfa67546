"""Runs recorded scenarios on our machine and compares what both did. `README.md` beside this file has the how and why.

load.py       files to lines: directories, compressed files, broken lines
scenario.py   one scenario line: its handlers, operations and subscriptions on a real machine
record.py     what the machine did, written down in the form of the recording
functions.py  one function line: the name of a recorded function to ours
compare.py    recorded against ours: exact, as sets, up to an operation, or without what a tag names
report.py     counts, and differences for people
"""
