"""Compiles the kernel while the package is built. Without a compiler the package is pure Python and trains on torch."""

import runpy
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelHook(BuildHookInterface):  # type: ignore[type-arg, misc]
    """Puts the kernel of this machine into a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and make the wheel one for this platform if that worked."""
        module = runpy.run_path(str(Path(self.root) / "src" / "dlrun" / "native" / "build.py"))
        try:
            built = module["build"]()
        except subprocess.CalledProcessError as error:
            self.app.display_warning(f"the kernel is left out: {error.stderr.decode(errors='replace').strip()}")
            return
        if built is not None:
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
            build_data["artifacts"].append("/src/dlrun/native/*.so")
