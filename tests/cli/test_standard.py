"""The standard streams: readers that leave, streams that are closed, devices that are full, working folders that are gone."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun.cli.terminal.standard import Output
from dlrun.results.store import Store
from nursery import Nursery

RUN = ("dataset=xor", "trainer=smoke")
Closing = Callable[..., tuple[int, str]]


@pytest.fixture
def closing(folder: Path) -> Closing:
    """``closing("ls", ">&-")``: the command with redirections of a shell -> exit code, what it wrote to a stderr that it has."""

    def command(words: str, redirections: str = "") -> tuple[int, str]:
        line = f'"{sys.executable}" -m dlrun {words} {redirections}'
        done = subprocess.run(["bash", "-c", line], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, check=False)
        return done.returncode, done.stderr

    return command


def statuses(folder: Path) -> list[str]:
    store = Store.at(folder / "outputs")
    return [record.status for record in store.records(store.ids())]


@pytest.mark.parametrize("words", ["ls", "-m dataset=xor trainer=smoke seed=0,1"])
def test_a_reader_that_leaves_is_no_error(folder: Path, nursery: Callable[[], Nursery], words: str) -> None:
    child: Any
    if sys.platform == "linux" and "-m" in words:
        child = nursery().command(words.split(), folder, os.environ)
    else:
        line = [sys.executable, "-m", "dlrun", *words.split()]
        child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.stdout.close()  # before it prints anything
    said = child.stderr.read()
    child.stderr.close()
    assert (child.wait(), "rror" in said) == (0, False), said
    assert statuses(folder) == ["done"] * (2 if "-m" in words else 0)


def test_closed_streams_lose_nothing_but_what_was_printed(closing: Closing, folder: Path) -> None:
    assert closing("ls", ">&-") == closing("--cfg job", "<&- >&-") == (0, "")
    assert closing("dataset=xor trainer=smoke", "<&- >&- 2>&-") == (0, "")
    assert statuses(folder) == ["done"]
    # Nothing that is printed got into a file that was opened in the place of a stream
    (run,) = [path for path in (folder / "outputs" / "runs").iterdir() if not path.name.startswith(".")]
    assert "epoch 1/2" not in "".join(path.read_text(errors="replace") for path in run.iterdir())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_device_is_reported_in_one_line(closing: Closing) -> None:
    code, said = closing("ls", ">/dev/full")
    assert code == 2
    assert said == f"error: stdout: cannot be written ({os.strerror(errno.ENOSPC)}); what was printed is not complete\n"
    assert closing("ls nothing", "2>/dev/full") == (2, "")


@pytest.mark.parametrize("verb", ["dataset=xor", "plan seed=0,1", "show relu", "status", "resume"])
def test_a_working_folder_that_is_gone_is_named(closing: Closing, verb: str) -> None:
    line = f'mkdir gone; cd gone; rmdir ../gone; "{sys.executable}" -m dlrun {verb}'
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the working folder is not there any more; type cd and a folder that is\n"


def test_an_encoding_that_lacks_a_character_shows_its_number(folder: Path) -> None:
    folder.joinpath("heights.csv").write_text("\n".join(["größe,y", *(f"{i % 7},{i * 0.5}" for i in range(40))]))
    words = ["dataset=csv", "dataset.path=heights.csv", 'dataset.target="größe"', "--cfg", "job"]
    done = subprocess.run(
        [sys.executable, "-m", "dlrun", *words],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"target: gr\\xf6\\xdfe" in done.stdout


def test_output_is_discarded_after_the_reader_left_and_the_first_failure_is_kept() -> None:
    read, write = os.pipe()
    output = Output(write)
    assert output.write(b"one") == 3
    assert os.read(read, 10) == b"one"
    os.close(read)
    assert output.write(b"two") == 3
    assert output.write(b"three") == 5  # to nowhere
    assert output.failure is None
    os.close(write)

    reader = os.open(os.devnull, os.O_RDONLY)
    output = Output(reader)
    assert output.write(memoryview(b"four")) == 4
    assert output.failure is not None
    assert output.failure.errno == errno.EBADF
    os.close(reader)


def test_a_pipe_that_does_not_block_gets_everything() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    content = b"x" * (1 << 20)
    child = os.fork()
    if not child:
        os.close(read)
        output, rest = Output(write), memoryview(content)
        while rest:
            rest = rest[output.write(rest) :]
        os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        assert pipe.read() == content
    os.waitpid(child, 0)
