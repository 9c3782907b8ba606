"""Verification from scores that are there: each figure as a function, and all of them at once."""

import numpy as np

from anglos.evaluate.curve import (
    DEFAULT_COST,
    Cost,
    Curve,
    Steps,
    accepted_at,
    equal_error_rate,
    hull_equal_error_rate,
    least_cost,
    rates_of,
    steps_of,
)
from anglos.evaluate.given import Array, floats, marks_of, to_numpy
from anglos.evaluate.kinds import number, one_of
from anglos.evaluate.operating import OperatingPoint, Verification, verification_of
from anglos.evaluate.options import asked_for, check_cost, check_kinds, warn_of_resolution


def verification_of_scores(scores: Array, same: Array, *, far: float | tuple[float, ...] = (1e-3, 1e-2, 1e-1),
                           cost: Cost = DEFAULT_COST, hull: bool = False) -> Verification:
    """`verification` of scores that are there already.

    Parameters
    ----------
    scores : array (N,)
        Higher for pairs that are more alike: of distances, give their negatives.
    same : array (N,) of bool, or of 0 and 1
        Whether the two of a pair are of one class.
    far, cost, hull
        As in `verification`. Intervals need to know the classes, and are found there.

    Returns
    -------
    Verification

    Raises
    ------
    ValueError
        If a score is NaN or infinite, all pairs are of one kind, or an option is out of range.
    TypeError
        If an array is none, or has another shape.

    Examples
    --------
    Of four genuine pairs three score at least 0.6, of four impostors one.

    >>> import numpy as np
    >>> scores, same = np.asarray([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]), [1, 1, 0, 1, 0, 1, 0, 0]
    >>> found = verification_of_scores(scores, same, far=0.25)
    >>> found.eer, found.eer_threshold, found.tar_at_far[0.25]
    (0.25, 0.6, OperatingPoint(threshold=0.6, far=0.25, tar=0.75))
    """
    name = "verification_of_scores"
    asked = asked_for(name, far, cost, hull)
    steps = _steps(name, scores, same)
    warn_of_resolution(name, "far", asked.far, int(steps.impostor.sum()))
    return verification_of(steps, asked, {})


def eer(scores: Array, same: Array, *, hull: bool = False) -> float:
    """The equal error rate: where FAR and FRR meet.

    Between two thresholds on the line that joins their points; `hull`: on the convex hull of all points, which is
    never larger.

    >>> import numpy as np
    >>> scores, same = np.asarray([0.9, 0.8, 0.6, 0.55, 0.5, 0.4, 0.2]), [1, 1, 0, 1, 0, 0, 0]
    >>> eer(scores, same), round(eer(scores, same, hull=True) * 7, 9)
    (0.25, 1.0)
    """
    one_of("eer", "hull", hull, (True, False))
    steps = _steps("eer", scores, same)
    return (hull_equal_error_rate if hull else equal_error_rate)(rates_of(steps), steps.whole).value


def tar_at_far(scores: Array, same: Array, far: float) -> OperatingPoint:
    """The share of genuine pairs that is accepted by the lowest threshold whose FAR is at most `far`.

    The threshold is one of the scores, or infinite if each would accept too many impostors.

    >>> import numpy as np
    >>> tar_at_far(np.asarray([0.9, 0.7, 0.7, 0.1]), [1, 1, 0, 0], 0.5)
    OperatingPoint(threshold=0.7, far=0.5, tar=1.0)
    >>> tar_at_far(np.asarray([0.9, 0.7, 0.7, 0.1]), [1, 1, 0, 0], 0.0)
    OperatingPoint(threshold=0.9, far=0.0, tar=0.5)
    """
    rate = number("tar_at_far", "far", far, 0.0, 1.0, "a rate")
    steps = _steps("tar_at_far", scores, same)
    warn_of_resolution("tar_at_far", "far", (rate,), int(steps.impostor.sum()))
    found = accepted_at(rates_of(steps), steps.whole, rate)
    return OperatingPoint(found.threshold, found.far, found.value)


def min_dcf(scores: Array, same: Array, cost: Cost = DEFAULT_COST) -> float:
    """The least detection cost of all thresholds, normalised: 1 is reached by accepting nothing.

    >>> import numpy as np
    >>> scores, same = np.asarray([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]), [1, 1, 0, 1, 0, 1, 0, 0]
    >>> min_dcf(scores, same, Cost(p_target=0.01, c_miss=10.0))  # 0.8: half of the genuine pairs, and no impostor
    0.5
    """
    check_cost("min_dcf", cost)
    steps = _steps("min_dcf", scores, same)
    rates = rates_of(steps)
    return float(np.mean([least_cost(rates, steps.whole, cost, p).value for p in cost.priors]))


def act_dcf(scores: Array, same: Array, cost: Cost = DEFAULT_COST) -> float:
    """The normalised detection cost at the threshold that is right if scores are log likelihood ratios.

    At log (C_fa (1 − P) / (C_miss P)): what `min_dcf` loses by being calibrated. It may be above 1.

    >>> import numpy as np
    >>> act_dcf(np.asarray([3.0, 1.0, -1.0, -2.0]), [1, 0, 1, 0], Cost(p_target=0.5))  # at 0, half of each
    1.0
    """
    check_cost("act_dcf", cost)
    steps = _steps("act_dcf", scores, same)
    costs = []
    for p in cost.priors:
        accepted = steps.low >= cost.bayes_threshold(p)
        frr = steps.genuine[~accepted].sum() / steps.genuine.sum()
        miss, false_accept = cost.weights(p)
        costs.append(miss * frr + false_accept * steps.impostor[accepted].sum() / steps.impostor.sum())
    return float(np.mean(costs))


def det_curve(scores: Array, same: Array) -> Curve:
    """FAR and FRR at every distinct score, in rising order, and at infinity.

    >>> import numpy as np
    >>> threshold, far, frr = det_curve(np.asarray([0.9, 0.8, 0.4, 0.3]), [1, 1, 0, 0])
    >>> far.tolist(), frr.tolist()
    ([1.0, 0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.5, 1.0])
    """
    return Curve(*rates_of(_steps("det_curve", scores, same))[:3])


def _steps(caller: str, scores: Array, same: Array) -> Steps:
    found = to_numpy(floats(caller, "scores", scores, 1).x)
    marks = marks_of(caller, "same", same, len(found))
    check_kinds(caller, "same", int(marks.sum()), int(len(marks) - marks.sum()))
    return steps_of(found, marks)
