"""Hydra finds this package by its name. It holds thin shims; what they do is written in dlrun.

Every Hydra application of the environment imports it, so it must be light and must not act unless dlrun's command is running.
"""

import sys

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class DlrunSearchPath(SearchPathPlugin):
    """Keeps dlrun's options on the search path of dlrun's command when --config-path gives another main folder."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append dlrun's config folder, unless it is there."""
        train = sys.modules.get("dlrun.cli.train")
        if train is None or not train.active:
            return
        folder = str(train.config_folder())
        if all(element.path != folder for element in search_path.get_path()):
            search_path.append("dlrun", f"file://{folder}")
