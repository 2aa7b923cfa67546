# The part of Pyodide's Python package that we use. It exists in a browser only.
__version__: str
