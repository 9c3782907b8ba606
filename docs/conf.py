"""Settings of Sphinx: `sphinx-build -W docs docs/_build`."""

project = "anglos"
copyright = "2026, the anglos authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
myst_enable_extensions = ["dollarmath"]
autodoc_typehints = "none"
