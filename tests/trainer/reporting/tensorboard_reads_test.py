"""What a user sees: real runs, read back through the HTTP interface of a real TensorBoard."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import fork_server, processes
from trainer.settings.config import Config
from trainer.settings.run import CIRCUMSTANCES

PRESETS = processes.ROOT / "scripts" / "presets"
# The last of two equal flags wins: the presets as they are, but shorter.
RUNS = {
    **{
        path.stem: [f"--flagfile={path}", "--epochs=4", "--summary_every=20"]
        for path in sorted(PRESETS.glob("*.flags"))
    },
    "annealed": [f"--rules={PRESETS / 'annealed.toml'}", "--hidden_units=64,32", "--epochs=8", "--summary_every=20"],
    "cosine": [
        *("--constraint=maxnorm", "--schedule=cosine", "--initial_value=8", "--max_value=1", "--schedule_end=80%"),
        *("--hidden_units=64", "--learning_rate=0.01", "--train_steps=250", "--summary_every=7"),
    ],
}
# Tags of the evaluation on the test split.
TESTED = ("test/accuracy", "test/best/accuracy", "test/best/loss", "test/loss")
ONE_RULE = [run for run in RUNS if run != "annealed"]


@dataclasses.dataclass(frozen=True)
class TensorBoard:
    """A running TensorBoard.

    Attributes:
      address: scheme, host and port.
      logdir: the folder of the runs it shows.
    """

    address: str
    logdir: pathlib.Path

    def get(self, route: str, **query: str) -> Any:
        """What TensorBoard's own front end would get from a route below `/data`."""
        return self._answer(f"{self.address}/data/{route}?{urllib.parse.urlencode(query)}")

    def post(self, route: str, body: dict[str, Any]) -> Any:
        """The answer to a question in JSON."""
        headers = {"Content-Type": "application/json"}
        return self._answer(
            urllib.request.Request(f"{self.address}/data/{route}", json.dumps(body).encode(), headers=headers)
        )

    def certificate(self, run: str) -> dict[str, Any]:
        """The certificate of a run."""
        return processes.certificate(self.logdir / run)

    def tags(self, run: str, folder: str = "train") -> set[str]:
        """The scalars of a run."""
        return set(self.get("plugin/scalars/tags")[f"{run}/{folder}"])

    def points(self, run: str, tag: str, folder: str = "train") -> dict[int, float]:
        """Step -> value of a scalar."""
        return {step: value for _, step, value in self.get("plugin/scalars/scalars", run=f"{run}/{folder}", tag=tag)}

    def sessions(self) -> dict[str, dict[str, Any]]:
        """Run -> its row in the HParams dashboard."""
        statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
        question = {"startIndex": 0, "sliceSize": 100, "allowedStatuses": statuses}
        groups = self.post("plugin/hparams/session_groups", question)["sessionGroups"]
        return {group["name"].removesuffix("/eval"): group for group in groups}

    def complete(self) -> bool:
        """Whether everything has been read from the files."""
        histograms = self.get("plugin/histograms/tags")
        sessions = self.sessions()
        return all(
            run in sessions
            and sessions[run]["sessions"][0]["status"] == "STATUS_SUCCESS"
            and f"{run}/train" in histograms
            and self.certificate(run)["step"] in self.points(run, "sparsity/total")
            for run in RUNS
        )

    @staticmethod
    def _answer(request: str | urllib.request.Request) -> Any:
        # No proxy between a test and its own machine, whatever the environment says.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            return json.loads(answer.read())


@pytest.fixture(scope="module")
def board(server: fork_server.Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorBoard]:
    """All runs, and a TensorBoard that has read them."""
    folder = tmp_path_factory.mktemp("tensorboard")
    for run, flags in RUNS.items():
        server.succeed(*flags, f"--run_dir=runs/{run}", cwd=folder)
    flags = ["--logdir=runs", "--host=localhost", "--port=0", "--load_fast=false", "--reload_interval=1"]
    with open(folder / "output", "w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tensorboard.main", *flags],
            cwd=folder,
            env=processes.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        address = _wait(lambda: re.search(r"http://localhost:\d+", (folder / "output").read_text()), process, folder)[0]
        tensorboard = TensorBoard(address, folder / "runs")
        _wait(lambda: f"{next(iter(RUNS))}/train" in tensorboard.get("runs"), process, folder)
        _wait(tensorboard.complete, process, folder)
        yield tensorboard
    finally:
        process.kill()
        process.wait()


def _wait(condition: Any, process: subprocess.Popen, folder: pathlib.Path) -> Any:
    """Waits for a condition and returns what made it true."""
    deadline = time.monotonic() + 60
    while not (met := condition()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"TensorBoard is not there:\n{(folder / 'output').read_text()}")
        time.sleep(0.2)
    return met


def measures_of(variable: dict[str, Any]) -> set[str]:
    """The tags of a constrained variable's measures."""
    path = variable["path"]
    return {f"{name}/{path}" for name in ("sparsity", "distance", "active")} | {f"norm/{path}/mean", f"norm/{path}/max"}


def bounds_of(variable: dict[str, Any]) -> dict[str, str]:
    """Hyperparameter -> tag, the primary one first, of a constrained variable's bounds."""
    return {field: f"bound/{field}/{variable['path']}" for field in variable["bound"]}


@pytest.mark.parametrize("run", RUNS)
def test_every_tag_is_there_and_no_other(board, run):
    expected = {"loss", "accuracy", "learning_rate", "steps_per_second", "traces", "nonfinite", "sparsity/total"}
    expected |= {"waiting_share"}
    expected |= {"penalty"} if run == "nonneg_l1" else set()
    for variable in board.certificate(run)["variables"]:
        expected |= measures_of(variable) | set(bounds_of(variable).values())
    assert board.tags(run) == expected
    assert board.tags(run, "eval") == {"loss", "accuracy", "sparsity/total", *TESTED}


@pytest.mark.parametrize("run", RUNS)
def test_values_are_finite_and_reach_the_last_step(board, run):
    last = board.certificate(run)["step"]
    for folder in ("train", "eval"):
        for tag in board.tags(run, folder):
            points = board.points(run, tag, folder)
            # The test split is read once.
            assert len(points) == 1 if tag in TESTED else len(points) > 1, tag
            assert max(points) == last, tag
            assert all(math.isfinite(value) for value in points.values()), tag


@pytest.mark.parametrize("run", RUNS)
def test_the_bound_holds_at_every_step(board, run):
    for variable in board.certificate(run)["variables"]:
        path, tags = variable["path"], bounds_of(variable)
        bounds = {field: board.points(run, tag) for field, tag in tags.items()}
        largest, mean = board.points(run, f"norm/{path}/max"), board.points(run, f"norm/{path}/mean")
        assert all(0 <= mean[step] <= largest[step] for step in largest)
        for step in largest:
            if "max_value" in bounds:
                assert largest[step] <= bounds["max_value"][step]
            if "min_value" in bounds:
                assert mean[step] >= bounds["min_value"][step] * (1 - 1e-6)
            if variable["constraint"] == "unitnorm":
                assert largest[step] == pytest.approx(1, rel=1e-6)
        if "sparsity" in bounds:
            # The number of zeros is whole.
            rounding = 0.5 * variable["groups"] / math.prod(variable["shape"]) + 1e-6
            zeros = board.points(run, f"sparsity/{path}")
            assert all(zeros[step] >= bounds["sparsity"][step] - rounding for step in zeros)
        for field, points in bounds.items():
            assert points[max(points)] == pytest.approx(variable["bound"][field])


@pytest.mark.parametrize("run", RUNS)
def test_the_last_point_agrees_with_the_certificate(board, run):
    certificate = board.certificate(run)
    last, variables = certificate["step"], certificate["variables"]
    sizes = [math.prod(variable["shape"]) for variable in variables]
    sparsity = sum(variable["zeros"] for variable in variables) / sum(sizes)
    for folder in ("train", "eval"):
        assert board.points(run, "sparsity/total", folder)[last] == pytest.approx(sparsity, abs=1e-7)
    for variable in variables:
        path = variable["path"]
        assert board.points(run, f"sparsity/{path}")[last] == pytest.approx(variable["sparsity"], abs=1e-7)
        for name in ("mean", "max"):
            assert board.points(run, f"norm/{path}/{name}")[last] == pytest.approx(variable["norm"][name], rel=1e-6)


def test_the_bound_follows_the_cosine(board):
    points = board.points("cosine", "bound/max_value/hidden_1/kernel")
    assert sorted(points) == [*range(7, 250, 7), 250]
    for step, value in points.items():
        progress = min(step / 200, 1)
        assert value == pytest.approx(1 + (8 - 1) * (1 + math.cos(math.pi * progress)) / 2, rel=0, abs=1e-6)
    # It was reached, so that something was held back.
    assert board.points("cosine", "active/hidden_1/kernel")[250] > 0.5


@pytest.mark.parametrize("run", RUNS)
def test_custom_scalars_show_each_measure_against_its_bound(board, run):
    charts = {chart["title"]: chart for chart in categories(board)["against the bound"]}
    for variable in board.certificate(run)["variables"]:
        path = variable["path"]
        sparse = "sparsity" in variable["bound"]
        chart = charts[f"sparsity: {path}" if sparse else f"norm: {path}"]
        measured = {f"sparsity/{path}"} if sparse else {f"norm/{path}/max", f"norm/{path}/mean"}
        series = shown(board, run, chart)
        assert set(series) == measured | set(bounds_of(variable).values())
        assert all(len(points) > 1 for points in series.values())


def test_custom_scalars_merge_over_runs(board):
    """Several runs make one dashboard, in which no chart is empty and none is there twice."""
    assert list(categories(board)) == ["against the bound", "all variables", "learning"]
    for charts in categories(board).values():
        titles = [chart["title"] for chart in charts]
        assert len(set(titles)) == len(titles)
        for chart in charts:
            assert any(shown(board, run, chart) for run in RUNS), chart["title"]
    everything = {chart["title"]: shown(board, "annealed", chart) for chart in categories(board)["all variables"]}
    assert len(everything["sparsity"]) == 4, "three kernels and the total"


def categories(board: TensorBoard) -> dict[str, list[dict[str, Any]]]:
    """Title -> charts of the custom-scalars dashboard."""
    layout = board.get("plugin/custom_scalars/layout")
    return {category["title"]: category["chart"] for category in layout["category"]}


def shown(board: TensorBoard, run: str, chart: dict[str, Any]) -> dict[str, list[Any]]:
    """Tag -> points that a chart shows of a run."""
    series: dict[str, list[Any]] = {}
    for pattern in chart["multiline"]["tag"]:
        answer = board.get("plugin/custom_scalars/scalars", run=f"{run}/train", tag=pattern)
        assert answer["regex_valid"]
        series |= answer["tag_to_events"]
    return series


def test_hparams_compare_all_runs(board):
    """The columns are those of every run, and those that differ come first."""
    experiment = board.post("plugin/hparams/experiment", {})
    columns = {info["name"]: info for info in experiment["hparamInfos"]}
    assert {"max_value", "clip_norm", "schedule", "filters", "rule 2: sparsity"} <= columns.keys()
    assert columns["constraint"]["differs"]
    assert set(columns["constraint"]["domainDiscrete"]) == {"maxnorm", "maxnorm+topk+minmaxnorm", "nonneg", "unitnorm"}
    assert columns["max_value"]["type"] == "DATA_TYPE_FLOAT64"
    differs = [info["differs"] for info in experiment["hparamInfos"]]
    assert differs == sorted(differs, reverse=True)
    metrics = [(info["name"]["group"], info["name"]["tag"]) for info in experiment["metricInfos"]]
    assert metrics == [("", tag) for tag in ("accuracy", "loss", "sparsity/total", *TESTED)]
    # What the run is stands before what it is made of.
    assert [info["name"] for info in experiment["hparamInfos"]][:2] == ["(rules)", "(settings)"]
    assert board.sessions().keys() == RUNS.keys()


@pytest.mark.parametrize("run", RUNS)
def test_hparams_show_the_evaluation(board, run):
    row, certificate = board.sessions()[run], board.certificate(run)
    values = {metric["name"]["tag"]: metric for metric in row["metricValues"]}
    for tag, value in certificate["evaluation"].items():
        assert values[f"test/{tag}"]["value"] == pytest.approx(value, rel=1e-6)
        assert values[f"test/{tag}"]["trainingStep"] == certificate["step"]
        assert values[f"test/best/{tag}"]["value"] == pytest.approx(certificate["best"]["test"][tag], rel=1e-6)
    assert row["sessions"][0]["status"] == "STATUS_SUCCESS"
    assert row["sessions"][0]["endTimeSecs"] > row["sessions"][0]["startTimeSecs"]


@pytest.mark.parametrize("run", ONE_RULE)
def test_hparams_show_the_flags(board, run):
    values = board.sessions()[run]["hparams"]
    defaults = {field.name: str(field.default) for field in dataclasses.fields(Config)}
    for line in (board.logdir / run / "flags.txt").read_text().splitlines():
        name, equals, text = line.removeprefix("--").partition("=")
        # What came later is no part of a run that leaves it out.
        if not equals or name in CIRCUMSTANCES or (name not in values and defaults[name] == text):
            continue
        value = values[name]
        assert value == float(text) if isinstance(value, float) else value == text, name
    assert "None" not in values.values()
    assert "" not in values.values()


@pytest.mark.parametrize("run", RUNS)
def test_a_run_traces_its_step_once_whatever_is_annealed(board, run):
    assert set(board.points(run, "traces").values()) == {1.0}


def test_hparams_tell_rules_apart(board):
    values = board.sessions()["annealed"]["hparams"]
    assert [values[f"rule {number}: constraint"] for number in (1, 2, 3)] == ["maxnorm", "topk", "minmaxnorm"]
    assert values["rule 1: schedule"] == "cosine"
    assert values["rule 2: sparsity"] == 0.9


@pytest.mark.parametrize("run", RUNS)
def test_the_card_of_the_run(board, run):
    assert board.get("plugin/text/tags")[f"{run}/train"] == ["run"]
    (card,) = board.get("plugin/text/text", run=f"{run}/train", tag="run")
    assert "<table>" in card["text"]
    assert "batch_size" in card["text"]
    for variable in board.certificate(run)["variables"]:
        assert variable["path"] in card["text"]
        assert variable["constraint"] in card["text"]


@pytest.mark.parametrize("run", RUNS)
def test_histograms_hold_every_weight(board, run):
    certificate = board.certificate(run)
    tags = board.get("plugin/histograms/tags")[f"{run}/train"]
    assert set(tags) == {f"weights/{variable['path']}" for variable in certificate["variables"]}
    for variable in certificate["variables"]:
        points = board.get("plugin/histograms/histograms", run=f"{run}/train", tag=f"weights/{variable['path']}")
        _, step, buckets = points[-1]
        assert len(points) > 5
        assert step == certificate["step"]
        assert sum(count for _, _, count in buckets) == math.prod(variable["shape"])
