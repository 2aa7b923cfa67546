import js

js.performance.mark("python ready")
