"""`python -m examples.wasm_workflow [--headless]`."""

import signal
import sys

if __name__ == "__main__":
    # Ctrl-C while modules are still imported ends it without a traceback. Once it serves it ends in good order.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from examples.wasm_workflow.command import main

    sys.exit(main())
