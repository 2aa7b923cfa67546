"""A traffic light: a machine of three states that exclude each other."""

import asyncmachine as am


class Light(am.StatesDef):
    Red = am.state(remove=("Yellow", "Green"))
    Yellow = am.state(remove=("Red", "Green"))
    Green = am.state(remove=("Red", "Yellow"))


ORDER: dict[str, Light] = {Light.Red: Light.Green, Light.Green: Light.Yellow, Light.Yellow: Light.Red}


def light() -> am.Machine[Light]:
    machine = am.Machine(Light, id="light")
    machine.add(Light.Red)
    return machine


def step(machine: am.Machine[Light]) -> None:
    """To the next colour."""
    machine.add(ORDER[next(iter(machine.active_states()))])
