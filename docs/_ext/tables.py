"""Tables whose rows stand as lists on a narrow screen (site.css): there a cell says which column it is in."""

from typing import Any

from docutils import nodes


def name_cells(app: Any, tree: nodes.document, page: str) -> None:
    """Before each cell but the first of a row, the head of its column; two columns tell themselves apart."""
    for group in tree.findall(nodes.tgroup):
        head, body = (next(iter(group.findall(part)), None) for part in (nodes.thead, nodes.tbody))
        if head is None or body is None or any("morecols" in entry for entry in group.findall(nodes.entry)):
            continue
        heads = list(head.findall(nodes.entry))
        for row in body.findall(nodes.row) if len(heads) > 2 else ():
            for column, cell in list(zip(heads, row, strict=True))[1:]:
                if column.astext() and cell.astext():
                    name = (each.deepcopy() for each in column[0])
                    cell[0].insert(0, nodes.inline("", "", *name, nodes.Text(": "), classes=["column"]))


def setup(app: Any) -> dict[str, bool]:
    """Once links are resolved: what is read and searched in stays as it is written."""
    app.connect("doctree-resolved", name_cells)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
