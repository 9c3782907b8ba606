"""Options of verification and identification, as they were given, if they can be."""

import warnings
from typing import Any

from anglos.call.kinds import describe, refuse
from anglos.evaluate.curve import Cost
from anglos.evaluate.kinds import number, one_of, several
from anglos.evaluate.operating import Asked

_OF = {"far": ("impostor pairs", "TAR at FAR"), "fpir": ("non-mated probes", "TPIR at FPIR")}
"""What a rate is of, and of which figure."""


def rates(caller: str, name: str, given: Any) -> tuple[float, ...]:
    """A rate, or several."""
    return several(caller, name, given, lambda caller, name, one: number(caller, name, one, 0.0, 1.0, "a rate"))


def asked_for(caller: str, far: Any, cost: Any, hull: Any) -> Asked:
    """Options of verification, if they can be."""
    check_cost(caller, cost)
    return Asked(rates(caller, "far", far), cost, one_of(caller, "hull", hull, (True, False)))


def check_cost(caller: str, cost: Any) -> None:
    """Refuse what is no cost."""
    if not isinstance(cost, Cost):
        refuse(caller, "cost", TypeError, f"was {describe(cost)}", 'a Cost: Cost(p_target=0.01), or COSTS["SRE08"]')


def warn_of_resolution(caller: str, name: str, rates: tuple[float, ...], count: int) -> None:
    """Where a rate is of less than one."""
    for rate in rates:
        if 0.0 < rate * count * (1.0 + 2.0**-50) < 1.0:  # 1/49 of 49 is one, in floating point too
            of, figure = _OF[name]
            warnings.warn(f"{caller}: {name} was {rate:g}, of {count} {of} less than one; what is found is {figure} 0",
                          stacklevel=3)


def check_kinds(caller: str, name: str, genuine: int, impostor: int) -> None:
    """Refuse pairs that are all of one kind."""
    if not genuine or not impostor:
        refuse(caller, name, ValueError, f"had {genuine} genuine and {impostor} impostor pairs", "at least one of each")
