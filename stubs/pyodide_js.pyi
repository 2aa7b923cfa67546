# The JavaScript module `pyodide` of the running interpreter.
from typing import Any

version: str

def __getattr__(name: str) -> Any: ...
