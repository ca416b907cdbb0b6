"""Hydra finds this package by its name. It holds thin shims; what they do is written in dlrun.

Every Hydra application of the environment imports it, so it must be light and must not act unless dlrun's command is running.
"""

import sys

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class DlrunSearchPath(SearchPathPlugin):
    """Puts dlrun's config on the search path, in dlrun's own command alone."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append dlrun's config folder after a folder that the user gave with --config-path."""
        train = sys.modules.get("dlrun.cli.train")
        if train is not None and train.active:
            search_path.append("dlrun", f"file://{train.config_folder()}")
