"""Whole cohorts, trained outside of Python by other compilers, for other processors: all have the bits of this process."""

import itertools
import platform
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import bochs
import replay
from dlrun import registry
from dlrun.engine.lanes import Native
from dlrun.engine.lanes.library import kernel
from dlrun.engine.trainer import Training
from dlrun.experiments.planning.cohorts import plan
from dlrun.native import build

pytestmark = pytest.mark.skipif(kernel() is None, reason="dlrun was built without its kernel")

ACTIVATIONS = sorted(set(registry.options("activation")) - {"prelu"})
OPTIMIZERS = sorted(registry.options("optimizer"))
TABLE = {"model.hidden": [9, 6], "trainer.batch_size": 11}


def mixed(**every: Any) -> list[dict[str, Any]]:
    """Every activation and every optimizer, in turn."""
    count = max(len(ACTIVATIONS), len(OPTIMIZERS))
    kinds = itertools.islice(zip(itertools.cycle(ACTIVATIONS), itertools.cycle(OPTIMIZERS), strict=False), count)
    return [every | {"activation": a, "optimizer": o, "seed": seed} for seed, (a, o) in enumerate(kinds)]


def seeds(count: int, **every: Any) -> list[dict[str, Any]]:
    return [every | {"seed": seed} for seed in range(count)]


PAIRS = {"model": "embedder", "trainer.batch_size": 9}
IMAGES = {"dataset.rows": 40, "trainer.batch_size": 3}
COHORTS: Mapping[str, tuple[int, Sequence[dict[str, Any]]]] = {
    "kinds": (300, mixed(dataset="diabetes", **TABLE)),
    "kinds_normalized": (300, mixed(dataset="moons", regularizer=["dropout", "batch_norm"], scheduler="one_cycle", **TABLE)),
    "penalties": (
        300,
        mixed(
            dataset="diabetes",
            regularizer=["l1", "l2", "max_norm"],
            scheduler="warmup_cosine",
            **TABLE | {"trainer.clip_norm": 0.5, "trainer.clip_value": 0.2},
        ),
    ),
    "classes": (300, seeds(3, dataset="iris", regularizer=["label_smoothing"], scheduler="cosine", **TABLE)),
    "pairs": (60, seeds(2, dataset="pairs", **PAIRS)),
    "triplets": (60, seeds(2, dataset="triplets", **PAIRS)),
    "cnn": (10, seeds(2, dataset="digits", model="cnn", activation="gelu", **{"model.hidden": [7], "trainer.batch_size": 5})),
    "cnn1d": (10, seeds(2, dataset="signals", model="cnn1d", regularizer=["batch_norm"], **{"trainer.batch_size": 5})),
    "residual": (60, seeds(2, dataset="iris", model="residual_mlp", regularizer=["dropout"], **TABLE)),
    "words": (30, seeds(2, dataset="sentences", model="bag_of_words")),
    "noise": (30, seeds(2, dataset="diabetes", regularizer=["augmentation"], **TABLE)),
    "mixup": (30, seeds(2, dataset="iris", regularizer=["augmentation"], **TABLE | {"regularizer.augmentation.kind": "mixup"})),
    "rotate": (
        5,
        seeds(2, dataset="digits", model="cnn", regularizer=["augmentation"], **{"regularizer.augmentation.kind": "rotate"}),
    ),
    "segmenter": (3, seeds(2, dataset="shapes", model="segmenter", loss="dice_cross_entropy", **IMAGES)),
}
SHORT = ("kinds", "kinds_normalized", "penalties", "classes", "pairs", "words", "noise", "mixup")


@pytest.fixture(scope="module")
def recorded(
    spec_of: Callable[..., Any], datasets: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, str]]:
    """A cohort's file, and the hashes of what this process makes of it."""
    known: dict[str, tuple[Path, str]] = {}
    folder = tmp_path_factory.mktemp("cohorts")

    def record(name: str) -> tuple[Path, str]:
        if name not in known:
            steps, rows = COHORTS[name]
            every = {"trainer.epochs": 1000, "trainer.max_steps": steps}
            (planned,) = plan([spec_of(**row | every) for row in rows], datasets)
            known[name] = folder / name, train(Training(planned.cohort), folder / name, steps)
        return known[name]

    return record


def train(training: Training, path: Path, steps: int) -> str:
    native, step = training.way, training.train_step
    assert isinstance(native, Native)
    factors = step.factors(0, steps, training.steps_per_epoch, training.total_steps)
    spread = None if factors is None else factors[:, native._lanes.rows]
    replay.write(path, native._plan, native._held, steps, spread)
    number = 0
    while training.step < steps:
        training.epoch(number)
        number += 1
    return replay.here(native, steps)


X86 = "-march=x86-64-v3"
ARM = ("aarch64-linux-gnu-gcc", "qemu-aarch64", "-march=armv8-a", "-static")
BUILDS = {
    "gcc-O1": ("gcc", "", "-O1", X86),
    "gcc-O3": ("gcc", "", "-O3", X86),
    "gcc-v4": ("gcc", "", "-O3", "-march=x86-64-v4"),
    "clang-O1": ("clang", "", "-O1", X86),
    "clang-O3": ("clang", "", "-O3", X86),
    "clang-v4": ("clang", "", "-O3", "-march=x86-64-v4"),
    "arm64-O1": (*ARM, "-O1"),
    "arm64-O3": (*ARM, "-O3"),
}
DOSES = [pytest.param("gcc-O1", SHORT, id="short"), *(pytest.param(b, COHORTS, id=b, marks=pytest.mark.slow) for b in BUILDS)]


@pytest.mark.parametrize(("name", "names"), DOSES)
def test_every_build_has_the_same_bits(
    name: str, names: Sequence[str], recorded: Callable[[str], tuple[Path, str]], tmp_path: Path
) -> None:
    compiler, emulator, *flags = BUILDS[name]
    if emulator and not shutil.which(emulator):
        pytest.skip(f"{emulator} is not installed")
    emulated = "-march=x86-64-v4" in flags and not wide()
    if emulated and bochs.missing():
        pytest.skip(f"this processor has no AVX-512, and to emulate it there is no {', '.join(bochs.missing())}")
    program = replay.program(tmp_path, compiler, *flags, *(["-static"] if emulated else []))
    files, hashes = zip(*map(recorded, names), strict=True)
    if emulated:
        found = bochs.run(program, files, tmp_path)
    else:
        found = replay.run([*filter(None, [emulator]), program], files)
    assert dict(zip(names, found, strict=True)) == dict(zip(names, hashes, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_products_and_sums_are_fused_where_the_source_says_so(compiler: str, tmp_path: Path) -> None:
    """As many of each kind with AVX-512 as without it, in tiles of one size; before loops are unrolled, which copies them."""
    if platform.machine() != "x86_64" or not shutil.which("objdump") or not shutil.which(compiler):
        pytest.skip(f"not with {compiler} on this machine")
    counts = []
    for march in ("x86-64-v3", "x86-64-v4"):
        made = tmp_path / march
        source = str(build.HERE / "kernel.c")
        subprocess.run([compiler, *replay.FLAGS, "-O1", f"-march={march}", "-DNARROW", "-c", source, "-o", str(made)], check=True)
        listed = subprocess.run(["objdump", "-d", str(made)], check=True, capture_output=True, text=True).stdout
        counts.append(Counter(re.findall(r"\bvfn?m(?:add|sub)\d*(\w\w)\b", listed)))
    assert counts[0] == counts[1]
    assert counts[0]["ps"] > 100
    assert counts[0].keys() <= {"ps", "pd"}


def wide() -> bool:
    """Whether this processor has the instructions of x86-64-v4."""
    flags = Path("/proc/cpuinfo")
    return flags.exists() and "avx512bw" in flags.read_text()
