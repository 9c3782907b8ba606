"""What the figures of a batch say: rules in their order, of which the first that holds is told.

Their thresholds lie between what was seen in trainings that went well and in those that failed for a known reason, of
one small data set: they make texts, not errors.
"""

import math
from collections.abc import Callable
from dataclasses import fields
from types import SimpleNamespace
from typing import Any, NamedTuple

from anglos.training.chance import nearest_at_random
from anglos.training.findings import Advice, Diagnosis

STAGES = ("start", "middle", "end")

_ALWAYS, _LATER, _AT_THE_END = STAGES, STAGES[1:], STAGES[2:]
_OUTWARD, _SHARED = 2.3, 0.8
"""From where on trainings ended opposite of their prototypes: of a push outwards, and of what embeddings share.

Of 592 small trainings (3 to 100 classes, s from 16 to 64, m from 0.1 to 0.8) 96 of 237 above both did, and 15 of 355
others; of 120 with a batch norm none. Number of classes, scale and margin alone do not tell: with s = 64, m = 0.5 and
no batch norm 45 of 163 ended so, at any number of classes.
"""

_CURES = (
    "put a batch norm between network and head, or train with Adam in place of SGD, which nearly always held; "
    "else take cosface, or a margin that grows from 0 (margin_warmup) together with past_pi=\"easy\" "
    "or a smaller scale. A warm-up, a smaller margin or a smaller scale alone often fails.")
"""In the order in which they held."""

_CURES_OF_SEVERAL = (
    "put a batch norm between network and head, train with Adam in place of SGD, take a scale of 2 to 3 times "
    "suggest_scale({classes}, 0.99), or a lower learning rate. A warm-up or past_pi=\"easy\" does not help.")
"""With several prototypes per class."""

_RISK = ("embeddings share one direction ({common:.2f} in common), and the margin pushes cosines below 0 further down "
         "({outward:.1f} outward): ")

_SPREADS = 2.5
"""How many standard deviations a mean angle of random prototypes is from theirs, at most."""

_CROWDED = 45.0
"""With more than D + 1 classes, the angle to the nearest of random prototypes below which they have no room."""


class _Rule(NamedTuple):
    name: str
    stages: tuple[str, ...]
    holds: Callable[[Any], bool]
    text: str
    """With figures by name."""


def _has_no_room(found: Any) -> bool:
    return found.dimension + 1 < found.classes and nearest_at_random(found.classes - 1, found.dimension) < _CROWDED


def _lies_opposite(found: Any) -> bool:
    """Of one class alone there is one direction; with a margin that is too large for it, a network can classify."""
    classifies = found.past > 0.5 and found.accuracy > 0.9 and found.common <= 0.97
    begun = found.stage != "start"
    return found.several and (found.label_angle > 140.0 or (begun and found.label_angle > 100.0 and not classifies))


def _is_as_drawn(found: Any) -> bool:
    """Whether prototypes know nothing of the labels: of 592 small trainings 569 before the first step, none at the end.

    Prototypes that are nearer to each other than drawn ones have moved, or have merged.
    """
    spread = math.degrees(_SPREADS / math.sqrt(found.dimension * (found.classes - found.absent)))
    room, chance = min(max(5.0, spread), 30.0), 1.0 / found.classes
    gap = 0.25 * found.gap_at_random if found.classes > 2 else 5.0  # of two it is 0 at random
    return bool(found.accuracy <= min(2.5 * chance, chance + 0.25) + 2.0 / found.samples
                and found.gap < gap
                and found.label_at_random - room < found.label_angle < 90.0 + room
                and found.twin > 0.6 * found.twin_at_random)


def _is_at_risk(found: Any) -> bool:
    return bool(found.several and found.classes > 2 and found.common > _SHARED and found.outward > _OUTWARD)


def _are_in_one_place(found: Any) -> bool:
    """Of several prototypes per class one suffices, which the class has moved there; others stay where they were."""
    return bool(found.several and found.common > 0.97 and (
        found.twin < found.twin_at_random / 2.0 if found.prototypes == 1
        else found.label_angle < found.label_at_random / 2.0))


def _are_missing(found: Any) -> bool:
    """Whether more classes have no sample than chance would leave out."""
    return bool(found.absent > 10.0 * found.classes * (1.0 - 1.0 / found.classes) ** found.samples)


_RULES = (
    _Rule("no_directions", _ALWAYS, lambda found: found.rank < 0.5,
          "all embeddings are zero vectors, which have no direction, and no gradient: the network is dead. Start anew "
          "with a lower learning rate, and look at what comes before the last layer."),
    _Rule("not_begun", _LATER, _is_as_drawn,
          "the label's prototype is no nearer than at random, as before the first step. Of a training that has not "
          "begun, ask with stage=\"start\", which judges scale, margin and directions. Of one that has, see whether "
          "the optimizer has the head's parameters, and whether labels are those of these prototypes."),
    _Rule("antipodal", _ALWAYS, lambda found: _lies_opposite(found) and found.away > 0.01,
          "embeddings lie on the far side of their prototypes, at {label_angle:.0f}°, where the label's logit falls as "
          "its cosine grows (a share of {away:.2f}), so that the loss can be near 0 at the accuracy of chance. "
          "past_pi=\"smooth\" shows that in the loss, and cures nothing: start anew and " + _CURES),
    _Rule("antipodal", _ALWAYS, _lies_opposite,
          "embeddings lie on the far side of their prototypes, at {label_angle:.0f}°, with {common:.2f} in common. "
          "Start anew and " + _CURES + " If the gradient stays above 0.7 and nothing moves, the network is dead: lower "
          "the learning rate."),
    _Rule("not_monotone", _ALWAYS, lambda found: found.away > 0.01,
          "for a share of {away:.2f} the label's logit falls as its cosine grows: the loss pushes these embeddings "
          "away from their prototypes, and can be near 0 at the accuracy of chance. Take past_pi=\"smooth\", where the "
          "loss has it, or a margin that is small enough for these angles, and ask again."),
    _Rule("merged", _LATER, lambda found: found.prototypes > 1 and _are_in_one_place(found),
          "embeddings share one direction ({common:.2f} in common), and one prototype of each class lies there, "
          "{label_angle:.0f}° from it. Start anew and " + _CURES_OF_SEVERAL),
    _Rule("merged", _LATER, _are_in_one_place,
          "embeddings share one direction ({common:.2f} in common), and the nearest prototypes are {twin:.1f}° apart: "
          "take a lower learning rate; or a smaller scale, where it is more than 10 times suggest_scale({classes}, "
          "0.99)."),
    _Rule("scale_too_small", _ALWAYS, lambda found: found.ceiling_without_margin < 0.9 or found.scale_ratio < 1.0,
          "the label's probability cannot exceed {ceiling_without_margin:.2f} at this scale, even without a margin: "
          "take suggest_scale({classes}, 0.99) or more. If accuracy is high and probabilities are near the ceiling, "
          "the training is finished at this scale."),
    _Rule("scale_too_large", _ALWAYS,
          lambda found: found.scale_ratio > 20.0 and (found.stage == "start" or found.accuracy < 0.9),
          "the scale is {scale_ratio:.0f} times suggest_scale({classes}, 0.99), so that all samples but the hardest "
          "have no gradient, and prototypes may merge: take a smaller one."),
    _Rule("margin_unattainable", _ALWAYS, lambda found: found.ceiling_without_margin >= 0.99 and found.ceiling < 0.9,
          "with this margin the label's probability cannot exceed {ceiling:.2g}, wherever prototypes are: take a "
          "smaller margin, or a larger scale."),
    _Rule("merged_risk", ("start",), lambda found: found.prototypes > 1 and _is_at_risk(found),
          _RISK + "with several prototypes per class such trainings often end with all embeddings in one place. Before "
          "you train, " + _CURES_OF_SEVERAL),
    _Rule("antipodal_risk", ("start",), _is_at_risk,
          _RISK + "with SGD more than half of such trainings ended opposite of their prototypes, with Adam few; a "
          "label's angle above 95° after an epoch shows it. Before you train, " + _CURES),
    _Rule("margin_too_large", _LATER,
          lambda found: found.past > 0.5 or (found.accuracy > 0.9 and found.p_median < 0.05),
          "the label's probability stays low, {p_median:.2g} in the median, at the accuracy {accuracy:.2f} and "
          "{label_angle:.0f}° from the prototypes: take a smaller margin, or let it grow from 0 (margin_warmup)."),
    _Rule("dimension_too_small", _LATER,
          lambda found: _has_no_room(found) and (found.gap < 8.0 or (found.twin < 40.0 and found.accuracy < 0.9)),
          "the label's prototype is only {gap:.0f}° nearer than the nearest other: {dimension} dimensions have no room "
          "for {classes} classes with this margin. Take more dimensions, or a smaller margin."),
    _Rule("twins", _LATER, lambda found: (
        found.twin < min(30.0, found.twin_at_random / 2.0) and found.common < 0.5 and not _has_no_room(found)),
          "the prototypes of classes {twin_classes[0]} and {twin_classes[1]} are {twin:.0f}° apart, the others are "
          "well: they may be two labels of one class."),
    _Rule("wrong_labels", _AT_THE_END, lambda found: (
        found.held_out and 0.02 <= found.p_low <= 0.4 and found.gap > 5.0 and found.p_median > 0.5
        and found.accuracy < 0.93),
          "a share of {p_low:.2f} has nearly no probability while the others are well: look at the labels of rows "
          "{least_probable}; subcenter_arcface with clean_subcenters finds those of a training set."),
    _Rule("absent", _ALWAYS, _are_missing,
          "{absent} classes have no sample: their prototypes only push others away."),
    _Rule("converged", _LATER, lambda found: (
        found.samples >= 500 and found.top1 > 0.1 and found.p_low < 0.005
        and found.label_angle < 90.0 and found.accuracy > 0.9),
          "few samples have a gradient any more ({top1:.0%} of it is of one per cent of them): these are learnt at "
          "this margin. Stop, or go on with a larger one; what other samples get only they can tell."),
    _Rule("in_progress", _LATER, lambda found: (
        0.3 <= found.gradient <= 0.5 and 25.0 <= found.label_angle <= 60.0 and found.gap > 15.0),
          "as in the middle of a training that goes well."),
)

_NOTHING = {"start": "nothing is wrong with scale, margin and directions; ask again after a few epochs, with "
                     "stage=\"middle\".",
            "middle": "no rule holds: none of the known faults is seen. Of a training that has not begun, ask with "
                      "stage=\"start\".",
            "end": "no rule holds: none of the known faults is seen."}


def advice_of(found: Diagnosis, held_out: bool) -> Advice:
    """Of the first rule that holds at the stage."""
    figures = {one.name: getattr(found, one.name) for one in fields(found)}
    known = SimpleNamespace(**{name: math.nan if value is None else value for name, value in figures.items()})
    known.held_out, known.several = held_out, found.classes - found.absent > 1
    for rule in _RULES:
        if found.stage in rule.stages and rule.holds(known):
            return Advice(rule.name, rule.text.format(**vars(known)))
    return Advice("none", _NOTHING[found.stage])
