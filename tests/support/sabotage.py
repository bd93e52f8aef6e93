"""The program, hit by signals at chosen points: `python -m tests.support.sabotage PLAN FLAGS...`, a real process.

A plan is JSON: a list of points, each `{"at": "module:attribute", "call": 3, "when": "before", "send": ["SIGKILL"]}`,
with `"about": text` where only calls count that have an argument with this text in it. With `"when": "during"` the
signals are sent `"delay"` seconds after the call began. `"when": "told"` sends none, but says at which step a method of
`trainer.engine.train_step.Steps` ended. A point with a `"value"` gives a constant another value. The program
itself knows nothing of all this: the functions are wrapped from outside.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from typing import Any

from tests.support import processes
from trainer.runtime import signals


def point(
    at: str,
    call: int = 1,
    when: str = "before",
    send: tuple[str, ...] = ("SIGKILL",),
    about: str = "",
    delay: float = 0.0,
) -> dict:
    """A point of a plan."""
    return {"at": at, "call": call, "when": when, "send": list(send), "about": about, "delay": delay}


def command(plan: list[dict], *flags: str) -> list[str]:
    """The command line of a run with a plan."""
    return [sys.executable, "-m", "tests.support.sabotage", json.dumps(plan), *flags]


def unignored() -> None:
    """Before a process begins: has it ignore no signal, whatever the tests are started by, as `nohup`."""
    for number in signals.NUMBERS:
        signal.signal(number, signal.SIG_DFL)


def train(plan: list[dict], *flags: str, cwd: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Runs the program to the end that the plan has in mind for it."""
    return subprocess.run(
        command(plan, *flags),
        cwd=cwd,
        env=processes.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=unignored,
    )


def install(at: str, call: int, when: str, send: list[str], about: str, delay: float) -> None:
    """Wraps a function so that one of its calls sends signals to this process."""
    module, _, path = at.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    raw = inspect.getattr_static(owner, name)
    original = getattr(raw, "__func__", raw)
    calls = itertools.count(1)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        hit = any(about in str(argument) for argument in args) if about else True
        hit = hit and next(calls) == call
        for number in send if hit and when == "before" else ():
            _send(number)
        if hit and when == "during":
            threading.Timer(delay, lambda: [os.kill(os.getpid(), signal.Signals[number]) for number in send]).start()
        result = original(*args, **kwargs)
        for number in send if hit and when == "after" else ():
            _send(number)
        if hit and when == "told":
            os.write(1, f"{name} at step {int(args[0]._optimizer.iterations.numpy())}\n".encode())
        return result

    setattr(owner, name, staticmethod(wrapped) if isinstance(raw, staticmethod) else wrapped)


def _send(name: str) -> None:
    number = signal.Signals[name]
    if number == signal.SIGSTOP:
        # Sent to the process, another thread would hear it, and this one could go on for a while.
        signal.pthread_kill(threading.get_ident(), number)
    else:
        os.kill(os.getpid(), number)


def main() -> None:
    """Carries out the plan around the program's own entry point."""
    plan, *flags = sys.argv[1:]
    from trainer import main
    from trainer.runtime import quiet_import

    quiet_import.import_tensorflow()
    for one in json.loads(plan):
        if "value" in one:
            module, name = one["at"].split(":")
            setattr(importlib.import_module(module), name, one["value"])
        else:
            install(**one)
    sys.argv = ["trainer.main", *flags]
    main.run(sys.argv)


if __name__ == "__main__":
    main()
