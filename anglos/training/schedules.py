"""Scales and margins that depend on the number of classes or on the step of a training."""

import math


def suggest_scale(num_classes: int, probability: float) -> float:
    """The least scale s with which softmax over s cos θ can give the label this probability on average.

    s = (C − 1)/C · log((C − 1) P / (1 − P)), reached when the C prototypes form a regular simplex: lower bound of
    CosFace (arXiv:1801.09414, section 3.3). It grows slowly: 64 is much for 10 classes, and right for millions.

    Parameters
    ----------
    num_classes : integer of at least 2
        C.
    probability : number between 0 and 1
        P.

    Examples
    --------
    Two opposite prototypes: the logits are s and −s, and P = 1 / (1 + e^(−2s)).

    >>> import math
    >>> s = suggest_scale(2, 0.9)
    >>> round(1 / (1 + math.exp(-2 * s)), 6)
    0.9
    """
    if num_classes < 2:
        raise ValueError(f"suggest_scale: num_classes was {num_classes}; wanted an integer of at least 2")
    if not 0.0 < probability < 1.0:
        raise ValueError(f"suggest_scale: probability was {probability}; wanted a number between 0 and 1")
    others = num_classes - 1
    return others / num_classes * math.log(others * probability / (1.0 - probability))


def caffe_annealing(step: int, *, base: float, gamma: float, power: float, minimum: float = 0.0) -> float:
    """λ of L-Softmax and SphereFace at a step, counted from 1: max(minimum, base (1 + γ step)^(−power)).

    The papers' settings: L-Softmax on MNIST (m = 4) base 1000, γ 2.5e-5, power 35; on CIFAR (m = 2) base 1000,
    γ 2e-5, power 45; SphereFace (m = 4) base 1000, γ 0.12, power 1, minimum 5, which λ reaches after 1659 steps.

    Examples
    --------
    >>> caffe_annealing(0, base=1000.0, gamma=0.12, power=1.0, minimum=5.0)
    1000.0
    >>> caffe_annealing(1659, base=1000.0, gamma=0.12, power=1.0, minimum=5.0)
    5.0
    """
    return max(minimum, base * math.pow(1.0 + gamma * step, -power))


def margin_warmup(step: int, *, steps: int, margin: float) -> float:
    """A margin that grows linearly from 0, at step 0, to its full size, from `steps` on.

    From a cold start a full margin can push two classes into one place.

    Examples
    --------
    >>> [margin_warmup(step, steps=4, margin=0.5) for step in (0, 1, 4, 9)]
    [0.0, 0.125, 0.5, 0.5]
    """
    return margin * min(1.0, max(step, 0) / max(steps, 1))


def degrees(angle: float) -> float:
    """An angle given in degrees, in radians, for margins: `margin=degrees(28.6)`.

    Examples
    --------
    >>> round(degrees(180.0), 5)
    3.14159
    """
    return math.radians(angle)
