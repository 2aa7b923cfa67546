"""What PyScript runs: the rest is a package, since tests import it too."""

from examples.dashboard.page import dashboard

await dashboard()  # noqa: F704, PLE1142 (PyScript allows it)
