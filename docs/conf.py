"""How Sphinx builds these pages: `python -m sphinx -W docs docs/_build`."""

from __future__ import annotations

from typing import Any

project = "Constrained training"
author = "The maintainers"
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
# Headings get anchors, so that a page can link to a part of another as on a code host.
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Constrained training"
html_copy_source = False
html_show_sphinx = False
highlight_language = "text"

# The order of the pages; what a folder has beside those named follows in alphabetical order.
CONTENTS = {
    "Start": ["getting-started", "how-to-choose"],
    "Tutorials": [
        "tutorials/max-norm",
        "tutorials/sparsity-ramp",
        "tutorials/prune-a-trained-network",
        "tutorials/two-of-four",
        "tutorials/transformer",
        "tutorials/own-model",
        "tutorials/own-loop",
        "tutorials/keras-fit",
        "tutorials/own-set",
        "tutorials/your-own-data",
    ],
    "Concepts": ["concepts/*"],
    "Reference": ["reference/*"],
    "Mathematics": ["math/*"],
    "Project": ["benchmarks", "design"],
}


def add_contents(app: Any, docname: str, source: list[str]) -> None:
    """Adds the table of contents to the first page, so that the page itself stays plain Markdown."""
    if docname == "index":
        for caption, pages in CONTENTS.items():
            listed = "\n".join(pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n\n{listed}\n```\n"


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_contents)
