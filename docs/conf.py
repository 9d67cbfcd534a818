"""Sphinx settings of the book. ``make book`` assembles the sources, this file among them, and calls Sphinx.

Nothing is fetched, neither while it builds nor when it is read: formulas are drawn by the MathJax of the
package, search runs in the reader's browser.
"""

import json
import re
from pathlib import Path

import rs_course
from rs_course.execution.pages import MATHJAX

project = "Is synthetic data ready for image recognition?"
author = "the RS Course authors"
copyright = "2026, the RS Course authors"
version = release = rs_course.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["generated/*", "_static/*"]
templates_path = ["_templates"]

nb_execution_mode = "off"  # what `rs-course run` made is shown
nb_ipywidgets_js = {}  # widgets come as their static pictures, so no page asks for a script from elsewhere
nb_merge_streams = True
nb_code_prompt_show = "Show what the cell shows"  # folded under a question that the reader answers first
nb_code_prompt_hide = "Hide what the cell shows"
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

suppress_warnings = ["ref.python"]  # a word of an annotation that two classes have as an attribute
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar = True  # attributes in the class's own list, not a second time as members

# Formulas as SVG by one file, which loads nothing more; its menu would.
mathjax_path = MATHJAX
mathjax3_config = {"options": {"enableMenu": False}, "svg": {"fontCache": "global"}}

html_theme = "sphinx_book_theme"
html_title = "RS Course"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_show_search_summary = False  # a page that was opened from a folder cannot read others to quote them
html_copy_source = True
html_sourcelink_suffix = ""
html_theme_options = {
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": True,
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # the sidebar has the search field already
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

_TEXTS = json.loads(Path(__file__).with_name("alternative_texts.json").read_text(encoding="utf-8"))


def _describe_pictures(app, doctree):
    """Give each picture of a notebook its alternative text, which myst-nb leaves out."""
    from docutils import nodes

    for image in doctree.findall(nodes.image):
        if text := _TEXTS.get(Path(image["uri"]).stem):
            image["alt"] = text


def _leave_out(app, what, name, value, skip, options):
    """Fields of named tuples have a docstring that says nothing."""
    return True if (value.__doc__ or "").startswith("Alias for field number") else None


def _mend_ways_back(app, page, template, context, doctree):
    """Sphinx names all functions in the links from a source file after the module of the first."""
    if not page.startswith("_modules/rs_course/") or "body" not in context:
        return
    names = app.env.domaindata["py"]["objects"]

    def mended(match):
        if match[2] in names:
            return match[0]
        start, _, end = match[2].partition(".")[2].partition(".")
        inside = f"rs_course.{start}."
        fits = [name for name in names if name.startswith(inside) and name.endswith(f".{end}")]
        return f"{match[1]}#{fits[0]}{match[3]}" if fits else ""

    link = r'(<a class="viewcode-back" href="[^"#]*)#([^"]*)("[^>]*>.*?</a>)'
    context["body"] = re.sub(link, mended, context["body"])


def setup(app):
    app.connect("html-page-context", _mend_ways_back)
    app.connect("doctree-read", _describe_pictures)
    app.connect("autodoc-skip-member", _leave_out)
