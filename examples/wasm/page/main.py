"""What PyScript runs: the rest is a package, since tests import it too."""

from examples.wasm.browser import chat

chat()
