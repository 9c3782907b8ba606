"""What angles are between random directions: against these a training is told from its start."""

import math

_STEPS = 3600


def nearest_at_random(draws: float, dimension: int) -> float:
    """The median of the smallest of so many angles between random directions in a number of dimensions, in degrees.

    The density of an angle is sin^(D − 2) θ. In one dimension directions are equal or opposite.

    Examples
    --------
    In a plane angles are uniform: that of a single draw is as often above 90° as below.

    >>> round(nearest_at_random(1, 2)), round(nearest_at_random(9, 16)), round(nearest_at_random(99_999, 512))
    (90, 69, 79)
    """
    if dimension < 2:
        return 0.0 if draws > 1 else 90.0
    centres = [math.pi * (step + 0.5) / _STEPS for step in range(_STEPS)]
    density = [math.sin(angle) ** (dimension - 2) for angle in centres]
    left = -math.expm1(-math.log(2.0) / draws) * sum(density)
    for angle, part in zip(centres, density, strict=True):
        if left <= part:
            return math.degrees(angle + (left / part - 0.5) * math.pi / _STEPS)
        left -= part
    return 180.0
