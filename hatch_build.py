"""Compiles the kernel while the package is built. Without a compiler the package is pure Python and trains on torch.

By default a wheel is for the machine on which it is built. The environment variable DLRUN_WHEEL names another, as make dist does:
``any`` leaves the kernel out, ``manylinux_2_17_aarch64`` has it compiled by the ziglang of the Python in DLRUN_ZIG.
"""

import os
import re
import runpy
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelHook(BuildHookInterface):  # type: ignore[type-arg, misc]
    """Puts the kernel into a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and make the wheel one for that platform if it worked."""
        wanted = os.environ.get("DLRUN_WHEEL", "")
        if wanted == "any":
            return
        module = runpy.run_path(str(Path(self.root) / "src" / "dlrun" / "native" / "build.py"))
        if wanted:
            named = re.fullmatch(r"manylinux_(\d+)_(\d+)_(\w+)", wanted)
            if named is None or named[3] not in module["PROCESSORS"]:
                raise ValueError(
                    f"DLRUN_WHEEL={wanted}: must be any or manylinux_GLIBC_MACHINE, of {', '.join(module['PROCESSORS'])}"
                )
            built = module["cross"](named[3], f"{named[1]}.{named[2]}", os.environ["DLRUN_ZIG"])
        else:
            try:
                built = module["build"]()
            except subprocess.CalledProcessError as error:
                self.app.display_warning(f"the kernel is left out: {error.stderr.decode(errors='replace').strip()}")
                return
        if built:
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{wanted or sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
            build_data["artifacts"] += [f"/src/dlrun/native/{place.name}" for place in built]
