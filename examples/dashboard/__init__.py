"""A page over a native machine: a queue of jobs that is watched, fed, paused and cleared."""
