import js

import asyncmachine as am

machine = am.Machine({"Ready": {}}, id="bench")
machine.add("Ready")
js.performance.mark("python ready")
