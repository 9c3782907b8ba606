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
