"""Reloads an exported file in a process of its own: `python -I reload.py JOB.json`; `trainer.export.fresh` calls it.

Without an argument it serves: it imports TensorFlow once, reads the names of jobs from its standard input, and forks a
process for each of them.

The process has the format's file alone, none of the rest of the project: what it can do, anybody can who has the file
and TensorFlow, LiteRT, ONNX Runtime or NumPy.

A job names the folder of the formats, the module, the path, where the results go, and the examples, an `.npz` of one
array for each input in their order. `measure` asks for memory and latencies in place of weights and outputs.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import pathlib
import sys
import time
import traceback
from typing import Any

import numpy as np

# Examples in a call.
BATCH = 256
# Calls of the model that are timed, and about how long they may take.
FEWEST, MOST, SECONDS = 20, 2000, 1.0
# The libraries whose presence tells what a format needs.
LIBRARIES = ("ai_edge_litert", "keras", "onnx", "onnxruntime", "tensorflow")


def main(job_file: str) -> None:
    """Does what a job asks for.

    Args:
      job_file: a JSON file.
    """
    job = json.loads(pathlib.Path(job_file).read_text())
    module = _module(job["formats"], job["module"])
    with np.load(job["examples"], allow_pickle=False) as archive:
        examples = [archive[f"arr_{number}"] for number in range(len(archive.files))]
    results = pathlib.Path(job["results"])
    found = (
        measured(module, job["path"], examples) if job["measure"] else checked(module, job["path"], examples, results)
    )
    (results / "found.json").write_text(json.dumps(found))


def serve() -> None:
    """Does the job that each line of the standard input names, and prints the exit code of its process.

    TensorFlow is imported before the fork and computes nothing there, so each process has it as if it were new.
    """
    importlib.import_module("tensorflow")
    for line in sys.stdin:
        job_file = line.rstrip("\n")
        child = os.fork()
        if child == 0:
            code = 1
            with open(f"{job_file}.stderr", "w") as told:
                os.dup2(told.fileno(), sys.stderr.fileno())
            try:
                main(job_file)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def checked(module: Any, path: str, examples: list[np.ndarray], results: pathlib.Path) -> dict[str, Any]:
    """Writes what a file stores to `stored.npz` and the outputs to `outputs.npz`.

    Returns:
      `stored`: name, type and so on of each tensor; `libraries`: those that reading took.
    """
    stored = module.read(path)
    libraries = [name for name in LIBRARIES if name in sys.modules]
    arrays = {}
    for number, one in enumerate(stored):
        arrays[f"values_{number}"] = one.values
        if one.quantised:
            arrays |= {f"scale_{number}": one.scale, f"zero_point_{number}": one.zero_point}
    np.savez(results / "stored.npz", **arrays)
    described = [{"name": one.name, "axis": one.axis, "sparse": one.sparse} for one in stored]
    np.savez(results / "outputs.npz", *outputs_of(module.predictor(path), examples))
    return {"stored": described, "libraries": libraries}


def outputs_of(predict: Any, examples: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs for all examples, a batch at a time."""
    size = len(examples[0])
    batches = [predict([one[start : start + BATCH] for one in examples]) for start in range(0, size, BATCH)]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def measured(module: Any, path: str, examples: list[np.ndarray]) -> dict[str, Any]:
    """Peak memory, and the latency at batch 1 and 32 on one thread.

    Returns:
      `memory`: the most bytes that the process held; `latency`: for each size of a batch the quartiles in seconds.
    """
    predict = module.predictor(path, threads=1)
    latency = {}
    for size in (1, 32):
        batch = [np.ascontiguousarray(np.resize(one, (size, *one.shape[1:]))) for one in examples]
        latency[str(size)] = quartiles(lambda batch=batch: predict(batch))
    return {"memory": peak_memory(), "latency": latency}


def quartiles(call: Any) -> list[float]:
    """The lower quartile, the median and the upper quartile of the time of a call, in seconds."""
    times: list[float] = []
    for _ in range(3):
        call()
    gc.disable()
    begun = time.perf_counter()
    while len(times) < FEWEST or (len(times) < MOST and time.perf_counter() - begun < SECONDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    gc.enable()
    return np.quantile(times, [0.25, 0.5, 0.75]).tolist()


def peak_memory() -> int:
    """The most bytes of memory that this process held."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        # Not `getrusage`, which counts what the process that started this one held.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    # Bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _module(folder: str, name: str) -> Any:
    """A module of the folder of formats, which is made a package of its own."""
    place = pathlib.Path(folder)
    spec = importlib.util.spec_from_file_location("formats", place / "__init__.py", submodule_search_locations=[folder])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["formats"] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    return importlib.import_module(f"formats.{name}")


if __name__ == "__main__":
    main(sys.argv[1]) if len(sys.argv) > 1 else serve()
