"""The optimizer's step, which each replica takes on its own copies with TensorFlow's fused kernels.

Keras's optimizer holds the state and the settings. Keras updates a variable in a dozen passes over the weights; a fused
kernel needs one. Every replica computes the same step from the summed gradients, so no replica waits for another. An
optimizer with a setting that the kernels do not support takes Keras's own step.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

from ..packages import constraints
from ..runtime.keras_internals import learning_rate, step_counter, unwrapped

# Settings that the fused steps support. All others must have their defaults.
_KNOWN = {"name", "learning_rate", "weight_decay", "momentum", "nesterov", "beta_1", "beta_2", "epsilon"}

# Keras for TensorFlow overrides these methods to sum gradients over replicas. The originals act on one replica.
_ACROSS_REPLICAS = (
    "_apply_weight_decay",
    "_backend_update_step",
    "_backend_increment_gradient_accumulators",
    "_overwrite_model_variables_with_average_value",
)
_KINDS = {kind.__name__: kind for kind in keras.optimizers.Optimizer.__mro__}
_LOCAL = type(
    "Local", (_KINDS["TFOptimizer"],), {name: vars(_KINDS["BaseOptimizer"])[name] for name in _ACROSS_REPLICAS}
)


class Updates:
    """Applies summed gradients to the variables of one optimizer.

    A `LossScaleOptimizer` keeps its rule: it halves its scale at a step that is left out, and doubles it after so many
    finite steps.

    Args:
      optimizer: built on `variables`.
      variables: trainable variables, in the order the optimizer was built with.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]):
        self._scaling = optimizer if unwrapped(optimizer) is not optimizer else None
        self._optimizer = optimizer = unwrapped(optimizer)
        self._variables = list(variables)
        # The kernels are the formulas of these very classes; a subclass may have another one.
        fused = {
            keras.optimizers.SGD: self._momentum,
            keras.optimizers.Adam: self._adam,
            keras.optimizers.AdamW: self._adam,
        }.get(type(optimizer))
        self._fused = fused if _is_plain(optimizer) and all(map(_is_usual, self._variables)) else None

    @property
    def conditional(self) -> bool:
        """Whether `apply` can leave a step out."""
        return self._fused is not None

    @property
    def scale(self) -> tf.Tensor | float:
        """What the loss is multiplied by before its gradients are taken."""
        if self._scaling is not None:
            return tf.convert_to_tensor(self._scaling.dynamic_scale)
        return self._optimizer.loss_scale_factor or 1.0

    def apply(self, gradients: Sequence[tf.Tensor | None], finite: tf.Tensor | None = None) -> None:
        """Makes one step and counts it. Each replica calls it.

        Args:
          gradients: one for each variable, summed over all replicas; None for a variable without a gradient.
          finite: a bool scalar; if it is false, the step is counted and changes nothing else. It serves XLA, which is
            faster without a condition, and needs an optimizer that is `conditional`.
        """
        step = tf.convert_to_tensor(step_counter(self._optimizer))
        rate = learning_rate(self._optimizer)(step)
        pairs = [
            (place, tf.convert_to_tensor(gradient)) for place, gradient in enumerate(gradients) if gradient is not None
        ]
        if self._scaling is not None:
            pairs = [(place, gradient / tf.cast(self.scale, gradient.dtype)) for place, gradient in pairs]
        if finite is not None:
            rate = tf.where(finite, rate, tf.zeros_like(rate))
            pairs = [(place, tf.where(finite, gradient, tf.zeros_like(gradient))) for place, gradient in pairs]
        if self._fused is None:
            self._as_keras(pairs)
        else:
            self._decay(pairs, rate)
            self._fused(pairs, rate, step, finite)
        self._count(tf.constant(True) if finite is None else finite)

    def skip(self) -> None:
        """Counts a step that is left out."""
        self._count(tf.constant(False))

    def _count(self, finite: tf.Tensor) -> None:
        # Write this replica's copy. Keras's `assign_add` waits for the other replicas, which fails in a condition.
        one = tf.ones([], tf.int64)
        tf.raw_ops.AssignAddVariableOp(resource=_handle(step_counter(self._optimizer)), value=one)
        if self._scaling is None:
            return
        scale, counter = self._scaling.dynamic_scale, self._scaling.step_counter
        since = tf.convert_to_tensor(counter)
        grows = finite & tf.equal(since, self._scaling.dynamic_growth_steps - 1)
        factor = tf.where(grows, 2.0, tf.where(finite, 1.0, 0.5))
        tf.raw_ops.AssignVariableOp(resource=_handle(scale), value=tf.convert_to_tensor(scale) * factor)
        value = tf.where(finite & ~grows, since + 1, tf.zeros_like(since))
        tf.raw_ops.AssignVariableOp(resource=_handle(counter), value=value)

    def _as_keras(self, pairs: list[tuple[int, tf.Tensor]]) -> None:
        """Does what `optimizer.apply` does, but neither sums the gradients again nor counts the step."""
        optimizer = self._optimizer
        variables = [self._variables[place] for place, _ in pairs]
        if type(optimizer).apply is not keras.optimizers.Optimizer.apply:
            with _on_this_replica(optimizer), _uncounted(optimizer):
                optimizer.apply([gradient for _, gradient in pairs], variables)
            return
        gradients, variables = optimizer._overwrite_variables_directly_with_gradients(
            [gradient for _, gradient in pairs], variables
        )
        if not gradients:
            return
        if optimizer.loss_scale_factor is not None:
            gradients = [gradient / optimizer.loss_scale_factor for gradient in gradients]
        with _on_this_replica(optimizer):
            optimizer._backend_apply_gradients(gradients, [variable.value for variable in variables])
        for variable in variables:
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))

    def _decay(self, pairs: list[tuple[int, tf.Tensor]], rate: tf.Tensor) -> None:
        """Decoupled weight decay: shrinks the weights whatever their gradient."""
        if self._optimizer.weight_decay is None:
            return
        for place, gradient in pairs:
            variable = self._variables[place]
            # Keras compares excluded names with the names of TensorFlow's variables.
            if self._optimizer._use_weight_decay(variable.value):
                share = tf.cast(rate * self._optimizer.weight_decay, gradient.dtype)
                variable.assign(tf.convert_to_tensor(variable) * (1.0 - share))

    def _momentum(
        self, pairs: list[tuple[int, tf.Tensor]], rate: tf.Tensor, step: tf.Tensor, finite: tf.Tensor | None
    ) -> None:
        del step
        optimizer = self._optimizer
        for place, gradient in pairs:
            own = _handle(self._variables[place])
            lr = tf.cast(rate, gradient.dtype)
            if not optimizer.momentum:
                tf.raw_ops.ResourceApplyGradientDescent(var=own, alpha=lr, delta=gradient)
                continue
            accum, momentum = _handle(optimizer.momentums[place]), _share(optimizer.momentum, gradient.dtype, finite)
            if finite is None:
                tf.raw_ops.ResourceApplyKerasMomentum(
                    var=own,
                    accum=accum,
                    lr=lr,
                    grad=gradient,
                    momentum=momentum,
                    use_nesterov=optimizer.nesterov,
                )
                continue
            # The kernel's formula written out, because the kernel always adds the momentum to the weights.
            kept = tf.raw_ops.ReadVariableOp(resource=accum, dtype=gradient.dtype) * momentum - lr * gradient
            tf.raw_ops.AssignVariableOp(resource=accum, value=kept)
            moved = momentum * kept - lr * gradient if optimizer.nesterov else kept
            tf.raw_ops.AssignAddVariableOp(resource=own, value=tf.cast(finite, gradient.dtype) * moved)

    def _adam(
        self, pairs: list[tuple[int, tf.Tensor]], rate: tf.Tensor, step: tf.Tensor, finite: tf.Tensor | None
    ) -> None:
        optimizer = self._optimizer
        count = tf.cast(step + 1, tf.float32)
        first, second = tf.pow(optimizer.beta_1, count), tf.pow(optimizer.beta_2, count)
        for place, gradient in pairs:
            variable, dtype = self._variables[place], gradient.dtype
            tf.raw_ops.ResourceApplyAdam(
                var=_handle(variable),
                m=_handle(optimizer._momentums[place]),
                v=_handle(optimizer._velocities[place]),
                beta1_power=tf.cast(first, dtype),
                beta2_power=tf.cast(second, dtype),
                lr=tf.cast(rate, dtype),
                beta1=_share(optimizer.beta_1, dtype, finite),
                beta2=_share(optimizer.beta_2, dtype, finite),
                epsilon=tf.constant(optimizer.epsilon, dtype),
                grad=gradient,
            )


def _share(kept: float, dtype: tf.DType, finite: tf.Tensor | None) -> tf.Tensor:
    """The share of a running mean that a step keeps: all of it if the step is left out."""
    share = tf.constant(kept, dtype)
    return share if finite is None else tf.where(finite, share, tf.ones_like(share))


def _is_plain(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether every setting that the fused steps do not support has its default."""
    arguments = inspect.signature(type(optimizer).__init__).parameters.values()
    defaults = {one.name: one.default for one in arguments if one.default is not one.empty and one.name not in _KNOWN}
    return all(getattr(optimizer, name, default) == default for name, default in defaults.items())


def _is_usual(variable: keras.Variable) -> bool:
    """Whether Keras's step does no more to a variable than the fused kernels do, in the type that tests cover."""
    special = variable.constraint is not None or getattr(variable, "overwrite_with_gradient", False)
    return variable.dtype == "float32" and not special


@contextlib.contextmanager
def _on_this_replica(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Lets the optimizer act on the calling replica's copies only, for gradients that are equal on all replicas."""
    kind = type(optimizer)
    # In the method resolution order the originals come after the optimizer's own methods and before TensorFlow's.
    object.__setattr__(optimizer, "__class__", type(kind.__name__, (kind, _LOCAL), {}))
    try:
        yield
    finally:
        object.__setattr__(optimizer, "__class__", kind)


@contextlib.contextmanager
def _uncounted(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Keeps an optimizer's own `apply` from counting the step, which would have replicas wait for each other."""
    counter = step_counter(optimizer)
    object.__setattr__(counter, "assign_add", lambda value: None)
    try:
        yield
    finally:
        object.__delattr__(counter, "assign_add")


def _handle(variable: keras.Variable) -> tf.Tensor:
    """The resource of the calling replica's copy."""
    return variable.value.handle


def present(gradients: Sequence[tf.Tensor | None]) -> list[tf.Tensor]:
    """The gradients that there are."""
    return [gradient for gradient in gradients if gradient is not None]


def roughly_finite(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Sums all gradients. The sum is finite only if every gradient is.

    Matrices are multiplied with ones, which is the fastest pass over the weights.

    Args:
      gradients: floats of any shapes.

    Returns:
      float32 scalar; inf or NaN also if the sum of finite gradients overflows.
    """
    sums = []
    for gradient in gradients:
        if gradient.shape.rank >= 2:
            matrix = tf.reshape(gradient, [-1, gradient.shape[-1]])
            gradient = tf.linalg.matvec(matrix, tf.ones([matrix.shape[1]], matrix.dtype))
        sums.append(tf.cast(tf.reduce_sum(gradient), tf.float32))
    return tf.add_n(sums)


def all_finite(sums: tf.Tensor, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Whether every number is finite: a bool scalar.

    Args:
      sums: float32 [n], `roughly_finite` of the gradients among them.
      gradients: floats of any shapes.
    """
    surely = tf.math.is_finite(tf.reduce_sum(sums))

    def closely() -> tf.Tensor:
        finite = [tf.reduce_all(tf.math.is_finite(tensor)) for tensor in (sums[:-1], *gradients)]
        return tf.reduce_all(finite)

    return tf.cond(surely, lambda: surely, constraints.numerics.outlined(closely))
