"""How Sphinx builds the documentation; ``make docs`` runs it, and a warning is an error."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

project = "DPAP Bench"
author = "The DPAP Bench authors"
copyright = "the DPAP Bench authors, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "index"
default_role = "code"

myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # an included section begins below its page's title

napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
maximum_signature_line_length = 80
add_module_names = False
python_use_unqualified_type_names = True

html_theme = "furo"  # its fonts are the system's: a page asks no other server for anything
html_title = "DPAP Bench"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False

#: Documents of the top level, and the page of the site that shows each.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "send-change.md",
    "README.md": "index.md",
    "RULES.md": "rules.md",
}


def _link(text: str, folder: Path) -> str:
    """Let the links of a document in `folder` lead to the same files from a page of the site."""

    def moved(found: re.Match[str]) -> str:
        path = (folder / found[1]).resolve()
        if not path.is_file():
            return found[0]
        name = path.relative_to(ROOT).as_posix()
        return f"]({PAGES.get(name) or os.path.relpath(path, ROOT / 'docs')}"

    return re.sub(r"\]\(([^)#\s]+)", moved, text)


def _page(app: Any, name: str, content: list[str]) -> None:
    content[0] = _link(content[0], ROOT / "docs")


def _included(app: Any, path: Any, parent: str, content: list[str]) -> None:
    content[0] = _link(content[0], ROOT)


def _docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Shapes such as [B, *weight] are no emphasis, and columns stay columns."""
    lines[:] = [re.sub(r"(?<=[\[ ])\*(?=\w)", r"\\*", line) for line in lines]
    if what == "module":
        for number in reversed(range(1, len(lines))):
            if lines[number].startswith("    ") and not lines[number - 1]:
                lines[number:number] = ["::", ""]


def setup(app: Any) -> None:
    """Hook into Sphinx."""
    app.connect("source-read", _page)
    app.connect("include-read", _included)
    app.connect("autodoc-process-docstring", _docstring)
