"""Code that is the name of something public becomes a link to it: sources stay plain Markdown, which any host shows."""

from typing import Any

from docutils import nodes

_OF_FORMULAS = ("adding", "reference/define", "gallery/own_loss")  # where clip is no loss, but a function of formulas


def _link(app: Any, doctree: nodes.document, page: str) -> None:
    names = app.env.get_domain("py").objects
    for literal in list(doctree.findall(nodes.literal)):
        text = literal.astext().removesuffix("()")
        name = text if text.startswith("anglos.") else f"anglos.{text}"
        two = page in _OF_FORMULAS and f"anglos.define.{text}" in names
        if two or name not in names or _is_linked(literal) or names[name].docname == page:
            continue
        target = app.builder.get_relative_uri(page, names[name].docname)
        link = nodes.reference("", "", literal.deepcopy(), internal=True, refuri=f"{target}#{names[name].node_id}")
        literal.replace_self(link)


def _is_linked(node: nodes.Node) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, (nodes.reference, nodes.title)):
            return True
    return False


def setup(app: Any) -> dict[str, bool]:
    """When all names of all pages are known."""
    app.connect("doctree-resolved", _link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
