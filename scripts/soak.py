"""Does a run that lasts keep to its memory? `python -m scripts.soak [--minutes=30] [flags of the program]`.

Trains in a process of its own, with evaluations, checkpoints, histograms and summaries in quick succession, and watches
it from outside: resident memory, open files and threads from /proc, compiled functions from the run's own event files.
After the warm-up memory must stay within 2 %, the rest must not change at all, and SIGTERM must end it with a save.
Prints a table; exits 1 where something grew.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from trainer.reporting.console import print_line
from trainer.reporting.text_table import table
from trainer.runtime import quiet_import, signals

FLAGS = [
    "--model=mlp",
    "--hidden_units=64,32",
    "--dropout=0.2",
    "--constraint=maxnorm",
    "--schedule=cosine",
    "--initial_value=4",
    "--max_value=1",
    "--schedule_end=100000",
    "--train_steps=1000000000",
    "--summary_every=50",
    "--eval_every=200",
    "--checkpoint_every=200",
    "--histogram_every=400",
]
WARM_UP = 0.2  # of the time
WINDOWS = 10  # that the rest is told in
TOLERANCE = 0.02


@dataclasses.dataclass(frozen=True)
class Sample:
    """What the system says of a process.

    Attributes:
      seconds: since the run began to train.
      memory: resident, in bytes.
      files: descriptors that are open.
      threads: their number.
    """

    seconds: float
    memory: int
    files: int
    threads: int


def sample(process: int, begun: float) -> Sample:
    """Looks at a process."""
    folder = pathlib.Path(f"/proc/{process}")
    pages = int((folder / "statm").read_text().split()[1])
    # Writing a checkpoint has files open for an instant; those that stay are what counts.
    files = min(len(os.listdir(folder / "fd")) for _ in range(5))
    threads = len(os.listdir(folder / "task"))
    return Sample(time.monotonic() - begun, pages * os.sysconf("SC_PAGE_SIZE"), files, threads)


def windows(samples: Sequence[Sample], number: int = WINDOWS) -> list[Sample]:
    """The medians of so many equal parts of what was seen."""
    size = len(samples) // number
    parts = [samples[i * size : (i + 1) * size] for i in range(number)] if size else [samples]
    return [
        Sample(
            part[-1].seconds,
            int(statistics.median(one.memory for one in part)),
            int(statistics.median_low(one.files for one in part)),
            int(statistics.median_low(one.threads for one in part)),
        )
        for part in parts
    ]


def faults(seen: Sequence[Sample], traces: Sequence[float], exit_code: int) -> list[str]:
    """What did not stay as it was, in words.

    Args:
      seen: the windows after the warm-up.
      traces: the number of compiled training functions, at each summary.
      exit_code: of the run, after SIGTERM.
    """
    found = []
    low, high = min(one.memory for one in seen), max(one.memory for one in seen)
    if high > low * (1 + TOLERANCE):
        found.append(f"memory moved by {high / low - 1:.1%}, from {_mib(low)} to {_mib(high)} MiB")
    for name in ("files", "threads"):
        values = sorted({getattr(one, name) for one in seen})
        if len(values) > 1:
            found.append(f"{name} moved from {values[0]} to {values[-1]}")
    if set(traces) != {1.0}:
        found.append(f"training was compiled {max(traces, default=0):g} times")
    if exit_code != signals.INTERRUPTED:
        found.append(f"SIGTERM ended the run with {exit_code} in place of {signals.INTERRUPTED}")
    return found


def watch(flags: Sequence[str], seconds: float, folder: pathlib.Path) -> tuple[list[Sample], int, str]:
    """Trains for so long; returns the samples after the warm-up, the exit code, and the last lines printed."""
    log = folder / "log.txt"
    command = [sys.executable, "-m", "trainer.main", *FLAGS, f"--run_dir={folder / 'run'}", *flags]
    samples = []
    with open(log, "w") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            while process.poll() is None and not list((folder / "run" / "checkpoints").glob("step-*")):
                time.sleep(0.1)
            begun = time.monotonic()
            while process.poll() is None and time.monotonic() - begun < seconds:
                if time.monotonic() - begun >= WARM_UP * seconds:
                    samples.append(sample(process.pid, begun))
                time.sleep(min(1.0, seconds / 200))
        finally:
            process.send_signal(signal.SIGTERM)
    return samples, process.returncode, "\n".join(log.read_text().strip().splitlines()[-3:])


def traces(run: pathlib.Path) -> list[float]:
    """How many training functions were compiled, at each summary of a run."""
    quiet_import.import_tensorflow()
    from tensorboard.backend.event_processing import event_file_loader

    found = []
    for file in run.glob("train/events.out.tfevents.*"):
        for event in event_file_loader.EventFileLoader(str(file)).Load():
            found += [value.tensor.float_val[0] for value in event.summary.value if value.tag == "traces"]
    return found


def _mib(number: int) -> str:
    return f"{number / 2**20:.1f}"


def main() -> None:
    """Soaks and prints; exits 1 where something grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    arguments, flags = parser.parse_known_args()
    if not arguments.minutes > 0:
        parser.error(f"--minutes={arguments.minutes} must be above 0")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        samples, exit_code, output = watch(flags, 60 * arguments.minutes, folder)
        if not samples:
            sys.exit(f"the run ended with {exit_code} before its warm-up was over: {output}")
        seen = windows(samples)
        rows = [[f"{one.seconds:.0f}", _mib(one.memory), str(one.files), str(one.threads)] for one in seen]
        print_line(table(["seconds", "resident MiB", "open files", "threads"], rows))
        compiled = traces(folder / "run")
    print_line(f"training was compiled {max(compiled, default=0):g} times; {output.splitlines()[-1]}")
    found = faults(seen, compiled, exit_code)
    print_line("\n".join(found) if found else "nothing grew")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
