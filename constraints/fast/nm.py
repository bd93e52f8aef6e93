"""N:M sparsity of very many weights by one compiled pass that compares the weights of each window."""

from __future__ import annotations

import numbers

import tensorflow as tf

from .. import numerics
from ..numerics.reductions import column_totals, compiled
from ..sets.nm import NM

# Windows up to this wide are compared pair by pair, which XLA writes out.
WIDEST = 16


def project(nm: NM, w: tf.Tensor) -> tf.Tensor | None:
    if not (numerics.is_large(w) and isinstance(nm.m, numbers.Integral) and nm.m <= WIDEST):
        return None
    return _largest_of_windows(w, nm.whole("n"), int(nm.m), nm.runs(w))


@compiled
def _largest_of_windows(w: tf.Tensor, n: tf.Tensor, m: int, rows: tuple[int, int, int]) -> tf.Tensor:
    """Keeps the `n` largest magnitudes of each `m` consecutive weights of columns that are finite: float32, as w."""
    size, groups = w.shape
    before, run, after = rows
    (infinite,) = column_totals(lambda rows: (~tf.math.is_finite(rows),))(w)
    stays = tf.tile(infinite > 0.0, [after])
    padded = tf.pad(tf.reshape(w, [before, run, after * groups]), [[0, 0], [0, -run % m], [0, 0]])
    windows = tf.reshape(padded, [-1, m, after * groups])
    places = [windows[:, place] for place in range(m)]
    bits = [numerics.magnitude_bits(place) for place in places]

    def larger(place: int) -> tf.Tensor:
        ahead = [tf.cast(other >= bits[place], tf.int32) for other in bits[:place]]
        behind = [tf.cast(other > bits[place], tf.int32) for other in bits[place + 1 :]]
        return sum(ahead + behind, tf.zeros_like(bits[place]))

    kept = [
        tf.where((larger(place) < n) | stays, weights, tf.zeros_like(weights)) for place, weights in enumerate(places)
    ]
    whole = tf.reshape(tf.stack(kept, axis=1), padded.shape)
    return tf.reshape(whole[:, :run], [size, groups])
