"""The gallery: the scripts of docs/examples/gallery, run by sphinx-gallery, in this order and in one style."""

from pathlib import Path
from typing import Any

PAGES = ("margins_compared", "gradient_field", "scale", "digits_on_a_circle", "verification", "mining",
         "temperature", "lengths", "beyond_pi", "own_loss")

STYLE = {
    "figure.constrained_layout.use": True, "figure.facecolor": "white", "figure.dpi": 100, "savefig.dpi": 100,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e6e9ef",
    "axes.axisbelow": True, "legend.frameon": False, "font.size": 12, "lines.linewidth": 2.0,
}


def place(filename: str) -> int:
    """Where in the gallery a script stands."""
    return PAGES.index(Path(filename).stem)


def set_style(conf: dict[str, Any], filename: str) -> None:
    """Before each script: matplotlib as it is, then the site's style."""
    import matplotlib.pyplot as plt

    plt.rcdefaults()
    plt.rcParams.update(STYLE)


SETTINGS = {
    "examples_dirs": "examples/gallery", "gallery_dirs": "gallery", "filename_pattern": r"\.py$",
    "within_subsection_order": "gallery.place", "reset_modules": ("matplotlib", "gallery.set_style"),
    "abort_on_example_error": True, "download_all_examples": False, "show_signature": False,
    "write_computation_times": False, "min_reported_time": 1e9, "image_srcset": ["2x"], "notebook_extensions": set(),
}


def setup(app: Any) -> dict[str, bool]:
    """sphinx-gallery has its settings as one value of conf.py."""
    app.setup_extension("sphinx_gallery.gen_gallery")
    app.config.sphinx_gallery_conf = SETTINGS
    return {"parallel_read_safe": True, "parallel_write_safe": True}
