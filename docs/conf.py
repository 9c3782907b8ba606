"""Settings of Sphinx: `sphinx-build -W docs docs/_build`."""

from typing import Any

import anglos

project = "anglos"
copyright = "2026, the anglos authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # for links to headings
autodoc_typehints = "none"


def setup(app: Any) -> None:
    """Fill the page of losses from the registry."""
    app.connect("source-read", list_losses)


def list_losses(app: Any, page: str, source: list[str]) -> None:
    """A page in the catalogue's order, without a list that would have to be kept."""
    if page == "losses":
        source[0] += "\n".join(f"```{{autofunction}} anglos.{name}\n```" for name in anglos.LOSSES)
