"""A processor with AVX-512, emulated: Linux on Bochs, which starts a program in place of its first process.

It needs the packages bochs, bochs-term, isolinux, syslinux-common and xorriso of Debian, and the image of a Linux kernel, which
the environment variable DLRUN_LINUX names. (qemu emulates no AVX-512.)
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

# Bochs 2.7 gives a wrong size for compacted states of registers; Linux trusts none of them if it sees that
COMMAND_LINE = "initrd=initrd rdinit=/init console=ttyS0 panic=-1 mitigations=off acpi=off clearcpuid=xsavec,xsaves"
ISOLINUX = ("/usr/lib/ISOLINUX/isolinux.bin", "/usr/lib/syslinux/modules/bios/ldlinux.c32")
MACHINE = """\
memory: guest=256, host=256
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path={folder}/boot.iso, status=inserted
boot: cdrom
cpu: model=corei7_skylake_x, count=1, ips=50000000, reset_on_triple_fault=0
clock: sync=none
com1: enabled=1, mode=file, dev={folder}/serial
sound: driver=dummy
speaker: enabled=0
display_library: term
log: {folder}/log
"""


def missing() -> list[str]:
    """What is needed and not there."""
    programs = [name for name in ("bochs", "xorriso", "script") if shutil.which(name) is None]
    linux = [] if Path(os.environ.get("DLRUN_LINUX", "none")).is_file() else ["DLRUN_LINUX"]
    return [*programs, *(name for name in ISOLINUX if not Path(name).exists()), *linux]


def run(program: Path, files: Sequence[Path], folder: Path) -> list[str]:
    """What a static program prints of each file: lines of hexadecimal words."""
    disc, linux = folder / "disc", os.environ["DLRUN_LINUX"]
    disc.mkdir()
    (disc / "initrd").write_bytes(archive({"init": program} | {file.name: file for file in files}))
    for source, name in ((linux, "linux"), *((name, Path(name).name) for name in ISOLINUX)):
        shutil.copy(source, disc / name)
    words = " ".join(f"/{file.name}" for file in files)
    (disc / "isolinux.cfg").write_text(f"default run\nlabel run\nkernel linux\nappend {COMMAND_LINE} -- {words}\n")
    boot = ["-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]
    made = ["xorriso", "-as", "mkisofs", "-quiet", "-o", str(folder / "boot.iso"), *boot, str(disc)]
    subprocess.run(made, check=True, capture_output=True)
    (folder / "machine").write_text(MACHINE.format(folder=folder))
    (folder / "debugger").write_text("continue\n")  # Debian's Bochs waits for this
    # it draws on a terminal, and stops when the first process has ended
    bochs = f"ulimit -n 256; bochs -q -f {folder}/machine -rc {folder}/debugger"
    command = ["script", "--quiet", "--command", bochs, "/dev/null"]
    terminal = os.environ | {"TERM": "vt100"}
    subprocess.run(command, env=terminal, stdin=subprocess.DEVNULL, capture_output=True)
    said = (folder / "serial").read_text(errors="replace")
    found = re.findall(r"^[0-9a-f]{16}(?: [0-9a-f]{16})*\r?$", said, re.MULTILINE)
    assert len(found) == len(files), said[-4000:]
    return [line.strip() for line in found]


def archive(files: dict[str, Path]) -> bytes:
    """Files as a cpio archive, as Linux unpacks it."""
    entries = [(name, 0o100755, path.read_bytes()) for name, path in files.items()]
    made = b""
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        text = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(text), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + text
        made += head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)
    return made
