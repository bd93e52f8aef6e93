"""Numbers: floating-point bits and rounding, norms, compiled passes; nothing here knows a set."""

# ruff: noqa: F401

from .floats import (
    away_from_zero,
    below_zero,
    epsilon,
    in_order,
    magnitude_bits,
    nearest,
    negative,
    nonzero,
    quantum,
    slack,
    stored_bits,
    toward_zero,
    with_sign,
    without_subnormals,
)
from .norms import (
    column_sums,
    factor_for_product,
    finite_groups,
    l1,
    l2,
    l2_estimate,
)
from .xla import (
    LARGE_SIZE,
    SMALL_SIZE,
    in_xla,
    is_large,
    is_small,
    outlined,
)
