"""How Sphinx builds these pages: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("_ext")))

import dugong

project = "dugong"
author = "the dugong authors"
project_copyright = author
release = version = dugong.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "complete_api",
    "constructors",
    "module_table",
    "short_names",
    "state_diagram",
]
exclude_patterns = ["_ext"]

html_theme = "furo"
html_title = f"dugong {release}"
html_static_path = ["_static"]
html_css_files = ["dugong.css"]
html_show_sphinx = False
html_copy_source = html_show_sourcelink = False
pygments_style = "friendly"
copybutton_prompt_text = "$ "  # what follows it is copied, and no output

default_role = "py:obj"
# Every name in a reference has to be found, but for those of Python itself, which would take its
# inventory from the network, and of types that are explained in api/index.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:obj", r"errno|strerror|args|filename|safe_to_retry|AsyncPipeline\.aclose|.*\.T"),
    (r"py:.*", r"(_?asyncio|collections|contextlib|email|hashlib|http|ipaddress)(\..*)?"),
    (r"py:.*", r"(io|next|os|select|socket|ssl|time)(\..*)?"),
    (
        r"py:class",
        r"Async\w+|Body|Co|ConnectionSettings|Hash|HeadersArgument|Items|Part|(.*\.)?[CT]",
    ),
    (r"py:class", r"dugong\.connection\.connection\.Connection"),
    (r"py:class", r"\w+Buffer|Requests|Unset|WholeBody"),
    (r"py:class", r"Callable\[\[\]"),  # of a callable without arguments
    (
        r"py:class",
        r"Allow|Auth|Cert|Digests|(Download)?Options|Files|Pairs|Path|Progress|Resolve|Sink|Verify|Wanted",
    ),
    (r"py:class", r"CookieJar|pathlib\.Path|(.*\.)?[PR]"),
]
add_module_names = False
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = napoleon_use_rtype = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
