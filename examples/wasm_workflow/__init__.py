"""Five machines, one in a native process and four in a browser tab, work through a graph of tasks together.

Read `states.py` first: the schemas are the whole design. Then `dag.py` (what is computed), `run.py` (what is known
about it) and the three sets of handlers: `worker.py`, `dispatcher.py`, `orchestrator.py`.
"""
