"""The tables of the page, from the records."""

from typing import Any

import numpy as np

from anglos.tools.study.cells import Record, cell_of, chosen, key_of
from anglos.tools.study.intervals import Estimate, draws, of_draws, over_seeds
from anglos.tools.study.recipes import MAIN, PAIRS, RECIPES, SETTINGS
from anglos.tools.study.tasks import LONGER

Tested = dict[str, list[Record]]
_CLAIMS = (("arcface", "normface"), ("cosface", "normface"), ("arcface", "linear_cross_entropy"),
           ("cosface", "linear_cross_entropy"), ("normface", "linear_cross_entropy"))


def whole(records: list[Record], task: str = "characters", by: str = "eer") -> Tested:
    """The records of every loss that has all of its seeds, with the setting that was best, in the catalogue's order."""
    found: Tested = {}
    for loss in RECIPES:
        of_loss = [one for one in records if (one["task"], one["loss"]) == (task, loss) and one["part"] != "curve"]
        tune = {key_of(one): one for one in of_loss if one["part"] == "tune"}
        best = chosen([*map(cell_of, tune.values())], tune, by) if tune else None
        found[loss] = sorted((one for one in of_loss if one["part"] == "test" and one["setting"] == best),
                             key=lambda one: int(one["seed"]))
    seeds = max(map(len, found.values()), default=0)
    return {loss: many for loss, many in found.items() if many and len(many) == seeds}


def estimate(many: list[Record], figure: str) -> Estimate:
    return over_seeds([one[figure] for one in many])


def tables(records: list[Record]) -> dict[str, str]:
    """Each by its name on the page."""
    made = {"characters": _losses(records, "characters"), "longer": _losses(records, "characters-longer"),
            "claims": _claims(records), "classes": _few(records), "libraries": _libraries(records),
            "cost": _cost(records)}
    return {name: table for name, table in made.items() if table}


def _losses(records: list[Record], task: str) -> str:
    """All that were trained for it, the best first."""
    found = whole(records, task)
    of, rows = draws(found), []
    for loss, many in sorted(found.items(), key=lambda one: estimate(one[1], "eer").mean):
        eer = estimate(many, "eer")
        difference = "–"
        if "normface" in found and loss != "normface":
            mean = eer.mean - estimate(found["normface"], "eer").mean
            difference = _signed(of_draws(mean, of[loss] - of["normface"]))
        rows.append([f"`{loss}`" + (" (pairs)" if loss in PAIRS else ""), _setting(many[0]["setting"]),
                     _percent(eer), _range(of_draws(eer.mean, of[loss])), difference,
                     *(_percent(estimate(many, figure), 1) for figure in ("tar", "map_at_r"))])
    return _table(["loss", "setting", "EER, %", "other characters too", "EER less NormFace's", "TAR, %",
                   "MAP@R, %"], rows)


def _claims(records: list[Record]) -> str:
    """Is one better than the other: by intervals of each, and by that of the difference of the same seeds."""
    rows = []
    for task in ("characters", *LONGER):
        by = {figure: whole(records, task, figure) for figure in ("eer", "map_at_r")}
        for loss, other in _CLAIMS if all(found.keys() >= MAIN.keys() for found in by.values()) else ():
            cells = []
            for figure, found in by.items():
                one, two = estimate(found[loss], figure), estimate(found[other], figure)
                paired = over_seeds([a[figure] - b[figure] for a, b in zip(found[loss], found[other], strict=True)])
                cells += ["apart" if one.apart(two) else "touch", _verdict(paired)]
            rows.append([f"{by['eer'][loss][0]['steps']}", f"`{loss}` and `{other}`", *cells])
    return _table(["steps", "losses", "EER: intervals", "difference, same seeds", "MAP@R: intervals",
                   "difference, same seeds"], rows)


def _few(records: list[Record]) -> str:
    """What a margin gains by the number of classes."""
    rows = []
    for task, name in (("characters", "800 characters"), ("characters-200", "200 characters"),
                       ("characters-20", "20 characters"), ("digits", "10 digits")):
        found = whole(records, task)
        if not found.keys() >= MAIN.keys():
            continue
        base = found["normface"]
        gained = [over_seeds([a["eer"] - b["eer"] for a, b in zip(found[loss], base, strict=True)])
                  for loss in ("cosface", "arcface")]
        rows.append([name, *(_percent(estimate(found[loss], "eer")) for loss in MAIN), *map(_signed, gained)])
    return _table(["learnt", *(f"`{loss}`" for loss in MAIN), "CosFace less NormFace", "ArcFace less NormFace"],
                  rows)


def _libraries(records: list[Record]) -> str:
    rows = []
    for loss, many in curves(records).items():
        base = np.asarray(many["numpy"]["curve"])
        for library, one in many.items():
            apart = np.abs(np.asarray(one["curve"]) / base - 1)
            rows.append([f"`{loss}`", library, f"{apart[:10].max():.0e}", f"{apart[:100].max():.0e}",
                         f"{apart.max():.0e}", f"{one['curve'][-1]:.4f}", f"{100 * one['eer']:.2f}"])
    heading = ["loss", "library", "10 steps", "100 steps", "all steps", "last loss", "EER, %"]
    return _table(heading, rows)


def curves(records: list[Record]) -> dict[str, dict[str, Record]]:
    """Those of every loss in every library."""
    found: dict[str, dict[str, Record]] = {}
    for one in records:
        if one["part"] == "curve":
            found.setdefault(one["loss"], {})[one["backend"]] = one
    return {loss: many for loss, many in found.items() if "numpy" in many}


def _cost(records: list[Record]) -> str:
    """In one sentence, which is no table."""
    found = whole(records)
    if not found:
        return ""
    seconds, losses = sum(one["seconds"] for one in records), {one["loss"] for one in records}
    return (f"{len(records)} trainings of {len(losses)} losses, {SETTINGS} settings of each and "
            f"{len(next(iter(found.values())))} seeds of the best, took {seconds / 60:.0f} minutes of a processor, "
            f"{seconds / len(records):.1f} s each.")


def _setting(setting: dict[str, Any]) -> str:
    return " ".join(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
                    for name, value in setting.items())


def _percent(one: Estimate, digits: int = 2) -> str:
    return f"{100 * one.mean:.{digits}f} ± {100 * (one.high - one.mean):.{digits}f}"


def _range(one: Estimate) -> str:
    return f"{100 * one.low:.2f} to {100 * one.high:.2f}"


def _signed(one: Estimate) -> str:
    return f"{100 * one.mean:+.2f} ({100 * one.low:+.2f} to {100 * one.high:+.2f})".replace("-", "−")


def _verdict(difference: Estimate) -> str:
    return f"{_signed(difference)}{'' if difference.apart(Estimate(0, 0, 0)) else ', touches 0'}"


def _table(heading: list[str], rows: list[list[str]]) -> str:
    """As Markdown; nothing of nothing."""
    if not rows:
        return ""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
