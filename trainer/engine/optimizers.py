"""The optimizer and its learning rate, a schedule."""

from __future__ import annotations

import keras

from ..packages import constraints
from ..settings.config import Config
from ..settings.timeline import Timeline


def build(config: Config, timeline: Timeline) -> keras.optimizers.Optimizer:
    """Makes the optimizer; call it under the strategy's scope.

    Gradients are clipped by the step, not here: the optimizer would clip each replica's share before they are summed.
    """
    rate = learning_rate(config, timeline)
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=config.momentum)
    if config.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(rate, momentum=config.momentum)
    if config.optimizer == "adamw":
        decay = 0.004 if config.weight_decay is None else config.weight_decay
        return keras.optimizers.AdamW(rate, weight_decay=decay)
    return keras.optimizers.Adam(rate)


def learning_rate(config: Config, timeline: Timeline) -> constraints.schedules.Schedule:
    """Makes the learning rate's schedule: a linear warm-up, then the chosen schedule to the end of the run.

    Raises:
      ValueError: a final rate without a schedule, a schedule out of its range, or a warm-up as long as the run.
    """
    warmup = timeline.step(config.warmup, "--warmup")
    if warmup >= timeline.total_steps:
        raise ValueError(
            f"--warmup={config.warmup} ({warmup} steps) leaves nothing of the run's {timeline.total_steps} steps; "
            "shorten it."
        )
    name = config.learning_rate_schedule
    if name == "constant":
        if config.final_learning_rate is not None:
            raise ValueError(
                f"--final_learning_rate={config.final_learning_rate} needs a schedule; "
                "add --learning_rate_schedule=cosine."
            )
        schedule = constraints.schedules.constant(config.learning_rate)
    else:
        final = config.final_learning_rate
        if final is None:
            final = config.learning_rate / 100 if name == "exponential" else 0.0
        try:
            make = constraints.schedules.SCHEDULES[name]
            schedule = make(config.learning_rate, final, begin=warmup).resolve(timeline)
        except ValueError as error:
            raise ValueError(f"--learning_rate_schedule={error}") from None
    return constraints.schedules.with_warmup(schedule, warmup) if warmup else schedule
