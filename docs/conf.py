"""The documentation site: `tox -e docs`, or `python -m sphinx -W docs site`. Nothing is fetched from a network."""

from __future__ import annotations

import inspect
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sphinx.util import logging

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from docs import generate  # noqa: E402 (found by the line above)

project = "simkit"
author = copyright = "the simkit authors"
version = release = version_of("b3d-simkit")

extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["generated"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # a function as a default is shown by its name, not by its address
nitpicky = False

html_theme = "furo"
html_title = f"simkit {version}"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}


def as_plain_text(_app: Any, _what: str, _name: str, thing: Any, _options: Any, lines: list[str]) -> None:
    """Show docstrings as the plain text that they are, with the descriptions of a model's fields."""
    try:
        names = list(inspect.signature(thing).parameters)
    except (TypeError, ValueError):  # a module, or a type alias
        names = []
    lines[:] = generate.as_plain_text("\n".join(lines), names).split("\n")
    if isinstance(thing, type) and issubclass(thing, BaseModel):
        lines += generate.field_list(thing).split("\n")


def with_factories(
    _app: Any, _what: str, _name: str, thing: Any, _options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Show the defaults that a dataclass makes anew for each object as calls, where Python shows `<factory>`."""
    return generate.with_factories(signature, thing), returned


def without_insides(_app: Any, page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    """Warn of what says nothing to a reader; with -W the build fails."""
    if found := generate.no_words(str(context.get("body", ""))):
        logging.getLogger(__name__).warning("%s.html shows %s", page, found[0])


def setup(app: Any) -> None:
    """Called by sphinx."""
    app.connect("autodoc-process-signature", with_factories)
    app.connect("html-page-context", without_insides)
    app.connect("autodoc-process-docstring", as_plain_text)


# Pages that follow the code word for word are written anew by every build.
generate.write(HERE / "generated")
