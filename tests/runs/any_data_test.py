"""Runs on files of every kind go on after SIGKILL and end as if nothing had happened, bit for bit."""

from __future__ import annotations

import signal

import pytest

from tests.runs.resume_test import state
from tests.support import any_data, sabotage
from tests.support.sabotage import point

STEPS = 60
COMMON = (
    *("--run_dir=run", f"--train_steps={STEPS}", "--batch_size=8", "--constraint=maxnorm", "--max_value=1"),
    *("--checkpoint_every=6", "--eval_every=10", "--summary_every=5", "--steps_per_loop=4"),
)
# What makes the data, what trains on it, and what is read as a stream.
KINDS = {
    "images": (any_data.images, ["--model=convnet", "--filters=4", "--augment=flip,crop,rotate,brightness"], False),
    "streamed images": (any_data.images, ["--model=convnet", "--filters=4", "--augment=flip,zoom"], True),
    "texts": (any_data.texts, ["--model=textcnn", "--filters=4,4,4", "--dropout=0.3"], False),
    "table": (any_data.table, ["--model=mlp", "--hidden_units=8", "--dropout=0.3", "--label=price"], False),
}
MOMENTS = (
    point("trainer.storage.files:write_atomically", when="after", about="preprocessing"),
    point("trainer.storage.checkpoints:Checkpoints._write", 2, "after"),
    point("trainer.engine.train_step:Steps.train", 3, "after"),
    point("os:rename", 3, "after", about="unfinished-"),
)


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_continued(tmp_path, kind, replicas):
    make, options, streamed = KINDS[kind]
    plan = [{"at": "trainer.data.dataset:MEMORY_LIMIT", "value": 0}] if streamed else []
    flags = [*COMMON, *options, f"--dataset={make(tmp_path)}", f"--num_replicas={replicas}"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    result = sabotage.train(plan, *flags, cwd=whole)
    assert result.returncode == 0, result.stderr
    for moment in MOMENTS:
        killed = sabotage.train([*plan, moment], *flags, cwd=broken)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    result = sabotage.train(plan, *flags, cwd=broken)
    assert result.returncode == 0, result.stderr
    assert "continues at step" in result.stdout
    assert state(broken / "run", STEPS) == state(whole / "run", STEPS)
    # How long training waited for data is told by a clock.
    one, other = (
        [line for line in (each / "run" / "certificate.json").read_text().splitlines() if "waiting" not in line]
        for each in (broken, whole)
    )
    assert one == other
    assert (broken / "run" / "preprocessing.keras").is_file()
