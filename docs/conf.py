"""How Sphinx builds the site: ``make docs``."""

import sys
from pathlib import Path

import dlrun

sys.path.insert(0, str(Path(__file__).parent))  # docstrings.py and options.py

project = "dlrun"
author = copyright = "the dlrun authors"
version = release = dlrun.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "docstrings", "options"]
exclude_patterns = ["_build", "workflows"]
nitpicky = True
nitpick_ignore_regex = [
    # what others document, on pages that the build would have to ask the network for
    ("py:.*", r"(numpy|np|pandas|pd|torch|pathlib|os|collections|typing|types|sklearn)\..*"),
    ("py:class", r"dlrun\.(results|data|experiments)\..*"),  # what signatures mention and nobody calls
    ("py:.*", r"(Any|ArrayLike|NDArray|float64|Path|PathLike|Tensor|ModuleType|Mapping|Sequence|Callable|optional)"),
]
smartquotes = False  # two hyphens are a flag

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

nb_execution_in_temp = True
nb_execution_timeout = -1  # a machine may be busy
nb_execution_raise_on_error = True
nb_merge_streams = True

html_theme = "furo"
html_title = f"dlrun {release}"
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {"footer_icons": []}
