"""Mathematics as MathML, made at build time: pages need neither a script nor a network to show it."""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert


def mathml(tex: str, display: bool = False) -> str:
    """An element `math` of a formula in TeX."""
    return convert(tex, display="block" if display else "inline")


def _inline(translator: Any, node: nodes.Node) -> None:
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.Node) -> None:
    translator.body.append(f'<div class="formula">{mathml(node.astext(), display=True)}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """A renderer, chosen by `html_math_renderer = "mathml"`."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
