"""`python -m asyncmachine_tools` is `am`."""

from __future__ import annotations

import sys

from asyncmachine_tools.main import main

if __name__ == "__main__":
    sys.exit(main())
