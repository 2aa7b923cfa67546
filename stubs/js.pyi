# JavaScript's global scope as Pyodide shows it; what is there differs between page and worker, so all of it is Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
