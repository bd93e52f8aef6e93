"""The fast paths of `topk` and `l1ball`, one after the other."""

from __future__ import annotations

import tensorflow as tf

from ..sets.l1ball import L1Ball
from ..sets.l1topk import L1TopK
from ..sets.topk import TopK


def project(both: L1TopK, w: tf.Tensor) -> tf.Tensor:
    return L1Ball(both.max_value)._project_in_dtype(both.sparse._project_in_dtype(w))


def project_warm(both: L1TopK, w: tf.Tensor, warm_start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    sparse, selecting = both.sparse._project_warm(w, warm_start[: TopK.warm_start])
    p, shrinking = L1Ball(both.max_value)._project_warm(sparse, warm_start[TopK.warm_start :])
    return p, tf.concat([selecting, shrinking], axis=0)
