"""What `diagnose` found, and how it is shown."""

import textwrap
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anglos.arrays.library import Array


class Advice(NamedTuple):
    """What the figures say, by the first rule that holds."""

    rule: str
    """Its name, as "antipodal"; "none" where no rule holds."""
    text: str


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `diagnose` found; `print` shows it as a table. Angles are in degrees, and figures of the samples means.

    None is for what a loss has not: a margin past π, a probability, a fixed scale. Of samples that are ignored, arrays
    have NaN, and −1 for a class.
    """

    loss: str
    stage: str
    samples: int
    """How many count."""
    classes: int
    dimension: int
    prototypes: int
    """How many a class has."""
    label_angle: float
    """Between an embedding and the prototype of its label: from some 90° it must fall."""
    label_at_random: float
    """Of random embeddings and prototypes: 90°, or less to the nearest of several."""
    label_angle_spread: float
    """The standard deviation."""
    other_angle: float
    """To the nearest prototype of another class."""
    other_angle_spread: float
    gap: float
    """How much nearer the label's prototype is than the nearest other."""
    gap_at_random: float
    """Of random embeddings and prototypes."""
    accuracy: float
    """The share whose nearest prototype is the label's."""
    past: float | None
    """The share at angles where θ + m > π, and `past_pi` matters."""
    away: float
    """The share whose logit of the label falls as the cosine grows: the loss pushes these off."""
    outward: float | None
    """Beyond 90°, s times the slope in cos θ of what the margin costs: above 0 it pushes all cosines down."""
    p_median: float | None
    """Median probability of the label, with its margin."""
    p_low: float | None
    """The share for which it is below 0.01."""
    ceiling: float | None
    """The largest probability that the label can have, with as many classes at this scale and margin."""
    ceiling_without_margin: float | None
    scale: float | None
    scale_ratio: float | None
    """Over `suggest_scale(C, 0.99)`."""
    gradient: float
    """Length of the gradient in the direction of the embedding, over the scale: from 0 to about 2."""
    top1: float
    """The share of all these lengths that the hardest one per cent have; 0.01 if all are alike, NaN if all are 0."""
    common: float
    """Length of the mean of the embeddings' directions: 1 if they share one."""
    rank: float
    """In how many directions they spread: e to the entropy of their spectrum."""
    twin: float
    """Angle between the two prototypes that are nearest to each other."""
    twin_classes: tuple[int, int]
    twin_at_random: float
    dead: int
    """Classes with samples that are nobody's nearest."""
    absent: int
    """Classes without samples."""
    least_probable: tuple[int, ...]
    """Rows of the batch with the smallest probability of the label, up to ten."""
    advice: Advice
    label_angles: Array = field(compare=False)
    """(B,), as all that follows."""
    other_angles: Array = field(compare=False)
    nearest: Array = field(compare=False)
    """The class of the nearest prototype."""
    label_probabilities: Array | None = field(compare=False)
    gradients: Array = field(compare=False)

    def __str__(self) -> str:
        return "\n".join([
            f"{self.loss}: {self.samples} samples of {self.classes} classes in {self.dimension} dimensions, "
            f"stage {self.stage!r}", "", f"{'':42}{'batch':>14}{'at random':>12}",
            *(f"{title:42}{batch:>14}{chance:>12}".rstrip() for title, batch, chance in _lines(self)), "",
            textwrap.fill(f"{self.advice.rule}: {self.advice.text}", 78, subsequent_indent="  ")])

    __repr__ = __str__


def _lines(found: Diagnosis) -> list[tuple[str, str, str]]:
    """What a figure is, the figure, and what it is at a random start."""
    lines: list[tuple[str, Any, str]] = [
        ("angle to the label's prototype", f"{found.label_angle:.0f}° ± {found.label_angle_spread:.0f}°",
         f"{found.label_at_random:.0f}°"),
        ("angle to the nearest other", f"{found.other_angle:.0f}° ± {found.other_angle_spread:.0f}°",
         f"{found.label_at_random + found.gap_at_random:.0f}°"),
        ("gap between them", f"{found.gap:.0f}°", f"{found.gap_at_random:.0f}°"),
        ("accuracy", f"{found.accuracy:.3f}", f"{1.0 / found.classes:.3f}"),
        ("share with θ + m > π (past)", _number(found.past), ""),
        ("share that is pushed off (away)", _number(found.away), ""),
        ("push beyond 90° by the margin (outward)", _number(found.outward), ""),
        ("probability of the label, median", _number(found.p_median), ""),
        ("share with less than 0.01 (p_low)", _number(found.p_low), ""),
        ("its ceiling", _number(found.ceiling), ""),
        ("its ceiling without a margin", _number(found.ceiling_without_margin), ""),
        ("scale", _number(found.scale), ""),
        ("scale over suggest_scale(C, 0.99)", _number(found.scale_ratio), ""),
        ("gradient over the scale", _number(found.gradient), ""),
        ("of it the hardest 1 % have (top1)", _number(found.top1), "0.01"),
        ("length that embeddings have in common", _number(found.common), ""),
        ("rank of the embeddings", f"{found.rank:.1f}", ""),
        (f"nearest prototypes (of {found.twin_classes[0]} and {found.twin_classes[1]})", f"{found.twin:.0f}°",
         f"{found.twin_at_random:.0f}°"),
        ("classes that are nobody's nearest (dead)", str(found.dead), ""),
        ("classes without samples (absent)", str(found.absent), "")]
    return [(title, "–" if value is None else value, chance) for title, value, chance in lines]


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}"
