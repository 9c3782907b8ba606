"""What follows from how many samples every class has: margins, biases and weights, (C,), for classes that are rare.

Each takes `counts`, (C,), numbers above 0 in an array of any library, in the order of the labels, and gives an array of
that library, (C,). A margin for each sample is `margins[labels]`. A count of 0 is refused.
"""

from anglos.training.class_counts import effective_number_weights as effective_number_weights
from anglos.training.class_counts import kappaface_margins as kappaface_margins
from anglos.training.class_counts import ldam_margins as ldam_margins
from anglos.training.class_counts import log_prior as log_prior
from anglos.training.class_counts import minmax_margins as minmax_margins
from anglos.training.class_counts import power_margins as power_margins

__all__ = ["effective_number_weights", "kappaface_margins", "ldam_margins", "log_prior", "minmax_margins",
           "power_margins"]


def __dir__() -> list[str]:
    return list(__all__)
