"""Settings of Sphinx: `sphinx-build -W docs docs/_build`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "anglos"
copyright = "2026, the anglos authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "sphinx_copybutton", "sphinx_design",
              "docstrings", "explorer", "gallery", "hard_inputs", "links", "mathml", "pages", "tables"]
exclude_patterns = ["_build", "_ext", "examples", "explorer"]
nitpicky = True
nitpick_ignore_regex = [("py:class", r"anglos\.\S*\._\w+|\(\(.*")]  # of defaults and annotations

html_theme = "furo"
html_title = "anglos"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_theme_options = {"footer_icons": [], "top_of_page_buttons": []}
html_copy_source = False

myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3  # for links to headings
autodoc_typehints = "none"
python_maximum_signature_line_length = 100
numpydoc_show_class_members = False
copybutton_exclude = ".linenos, .gp, .go"
