"""Pages made at build time: one of every loss, and the reference of every public name that is no loss."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import curves
import explorer
import reference
from docstrings import as_markdown
from formulas import tex
from groups import GROUPS

import anglos

DOCS = Path(__file__).parents[1]
_SOFTMAX = r"\ell = -\log\frac{e^{s\varphi}}{e^{s\varphi} + \sum_{j\ne y} e^{s\eta_j}}"


def loss_page(loss: anglos.Loss[...], equals: list[tuple[str, str]]) -> str:
    """The page of one loss; autodoc makes the most of it."""
    parts = [f"# {loss.name}", f"```{{math}}\n{tex(loss.formula)}\n```", *_where(loss)]
    if curves.is_drawable(loss):
        text = f"What {loss.name} puts in place of cos θ, and its slope, with its defaults"
        parts += [f"![{text}](curves/{loss.name}-{theme}.svg){{.only-{theme}}}" for theme in curves.THEMES]
    if loss.name in explorer.shown():
        parts.append(f'<a href="../explorer/index.html#loss={loss.name}">Move its options in the margin explorer</a>')
    parts += ["## How it is called", f"```{{eval-rst}}\n.. autofunction:: anglos.{loss.name}\n```",
              f"`{loss.name}.value_and_grad` gives the gradient too, in any library, and `{loss.name}.plain` is the "
              "same value for any automatic differentiation: both are methods of `anglos.Loss`."]
    if loss.paper:
        parts += ["## Paper", as_markdown(loss.paper)]
    if equals:
        parts.append("## In other libraries\n\nA line with `-` is the other library's, a line with `+` takes its place."
                     " What else differs is said in [Coming from another library](../migration.md).")
        for library, change in equals:
            parts.append(f"**{library}**\n\n```diff\n{change}\n```")
    return "\n\n".join(parts) + "\n"


def _where(loss: anglos.Loss[...]) -> Iterator[str]:
    """What the symbols of a margin stand for."""
    if "φ" in loss.formula and "z_" not in loss.formula:
        yield (f"where $\\varphi$ takes the place of $\\cos\\theta_y$, the label's, and $\\eta_j$ is "
               f"$\\cos\\theta_j$ of another class unless the formula says otherwise, in\n\n"
               f"```{{math}}\n{_SOFTMAX}\n```")


def equivalents() -> dict[str, list[tuple[str, str]]]:
    """Of every loss, the changes on the page about other libraries that have it: (library, lines)."""
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in anglos.LOSSES}
    sections = re.split(r"^## (.+)\n", (DOCS / "migration.md").read_text(), flags=re.M)[1:]
    for library, text in zip(sections[::2], sections[1::2], strict=True):
        for block in re.findall(r"^```diff\n(.*?)^```", text, re.M | re.S):
            for change in block.strip("\n").split("\n\n"):
                ours = "\n".join(line for line in change.splitlines() if line.startswith("+"))
                for name in dict.fromkeys(re.findall(r"anglos\.(\w+)", ours)):
                    if name in found:
                        found[name].append((library, change))
    return found


def overview() -> str:
    """All losses, a list for each group."""
    listed = [name for _, _, names in GROUPS for name in names]
    others = ("Other losses", "Those that are in none of the groups.", set(anglos.LOSSES) - {*listed})
    parts = []
    for title, text, names in (*GROUPS, others) if others[2] else GROUPS:
        parts += [f"## {title}", text, *(_entry(anglos.LOSSES[name]) for name in names)]
    return "\n\n".join(parts)


def _entry(loss: anglos.Loss[...]) -> str:
    """A loss in the list: what it is, its formula and its paper."""
    first = as_markdown((loss.__doc__ or "").split("\n\n")[0].replace("\n", " "))
    return (f"[`{loss.name}`](losses/{loss.name}.md)\n: {first}\n\n  ```{{math}}\n  {tex(loss.formula)}\n  ```\n\n"
            f"  {as_markdown(loss.paper)}")


def write() -> None:
    """All of them; what has not changed is left alone, so that Sphinx does not read it again."""
    pages = {"losses": {name: loss_page(loss, equals) for (name, loss), equals
                        in zip(anglos.LOSSES.items(), equivalents().values(), strict=True)},
             "reference": reference.pages()}
    for folder, texts in pages.items():
        (DOCS / folder).mkdir(exist_ok=True)
        for old in (DOCS / folder).glob("*.md"):
            if old.stem not in texts:
                old.unlink()
        for name, text in texts.items():
            path = DOCS / folder / f"{name}.md"
            if not path.exists() or path.read_text() != text:
                path.write_text(text)
    curves.draw(DOCS / "losses" / "curves")


def _fill(app: Any, page: str, source: list[str]) -> None:
    if page == "index":  # a glob of pages that are not there yet would be a warning
        source[0] = re.sub(r"^[\w/]+\*\n", lambda glob: glob[0] if any(DOCS.glob(glob[0].strip())) else "", source[0],
                           flags=re.M)
    elif page == "losses":
        order = [name for _, _, names in GROUPS for name in names]
        listed = "\n".join(f"losses/{name}" for name in dict.fromkeys((*order, *anglos.LOSSES)))
        source[0] += f"\n{overview()}\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n"
    elif page == "reference":
        listed = "\n".join(f"reference/{name}" for name in reference.pages())
        source[0] += f"\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"


def setup(app: Any) -> dict[str, bool]:
    """Before Sphinx looks for sources."""
    import_module("anglos.plot")
    write()
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
