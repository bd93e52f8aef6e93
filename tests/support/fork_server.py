"""Runs many command lines in processes of their own at the price of one import of TensorFlow.

A server imports everything once and forks for each command line: the child is a process like any other, with its own
folder, descriptors and exit code, that only skips the import. Nothing of TensorFlow runs before the fork.
"""

from __future__ import annotations

import json
import os
import pathlib
import queue
import subprocess
import sys
import time
from types import TracebackType
from typing import Any

from tests.support import processes

TIMEOUT = 300.0


class Forks:
    """Servers that run command lines, as many at once as there are servers.

    Args:
      number: of servers.
    """

    def __init__(self, number: int = 2):
        self._all = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.support.fork_server"],
                cwd=processes.ROOT,
                env=processes.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(number)
        ]
        self._free: queue.Queue[subprocess.Popen[str]] = queue.Queue()
        for server in self._all:
            self._free.put(server)

    def train(self, *flags: str, cwd: pathlib.Path) -> subprocess.CompletedProcess[str]:
        """What `processes.train` does; waits for a free server."""
        server = self._free.get()
        try:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(json.dumps([str(cwd), flags]) + "\n")
            server.stdin.flush()
            answer = json.loads(server.stdout.readline())
        finally:
            self._free.put(server)
        return subprocess.CompletedProcess(flags, answer["code"], answer["stdout"], answer["stderr"])

    def succeed(self, *flags: str, cwd: pathlib.Path) -> subprocess.CompletedProcess[str]:
        """What `processes.succeed` does."""
        return processes.succeeded(self.train(*flags, cwd=cwd))

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for server in self._all:
            with server:
                server.kill()


def serve() -> None:
    """Reads command lines from standard input and answers each with a line of JSON."""
    from trainer.runtime import quiet_import

    quiet_import.import_tensorflow()
    import tensorflow_datasets  # noqa: F401

    import trainer.training.session  # noqa: F401

    for line in sys.stdin:
        folder, flags = json.loads(line)
        print(json.dumps(_run(folder, flags)), flush=True)


def _run(folder: str, flags: list[str]) -> dict[str, Any]:
    streams = [os.memfd_create(name) for name in ("stdout", "stderr")]
    child = os.fork()
    if child == 0:
        _become(folder, flags, streams)
    deadline = time.monotonic() + TIMEOUT
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, 9)
        time.sleep(0.005)
    texts = []
    for stream in streams:
        os.lseek(stream, 0, os.SEEK_SET)
        with open(stream, errors="replace") as file:
            texts.append(file.read())
    return {"code": os.waitstatus_to_exitcode(ended[1]), "stdout": texts[0], "stderr": texts[1]}


def _become(folder: str, flags: list[str], streams: list[int]) -> None:
    """Becomes the program in the child; never returns."""
    import traceback

    from trainer import main

    code = 70
    try:
        os.chdir(folder)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, target in ((nothing, 0), (streams[0], 1), (streams[1], 2)):
            os.dup2(descriptor, target)
        sys.argv = ["trainer.main", *flags]
        main.run(sys.argv)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
