"""Sets of weights and exact projections onto them."""

from __future__ import annotations

from constraints import measures, schedules
from constraints.base import Constraint
from constraints.box import Box
from constraints.fields import hyperparameter
from constraints.halfspace import Halfspace
from constraints.hyperplane import Hyperplane
from constraints.l1ball import L1Ball
from constraints.l1sphere import L1Sphere
from constraints.l1topk import L1TopK
from constraints.lowrank import LowRank
from constraints.maxnorm import MaxNorm
from constraints.minmaxnorm import MinMaxNorm
from constraints.nm import NM
from constraints.none import Unconstrained
from constraints.nonneg import NonNeg
from constraints.nuclear import Nuclear
from constraints.orthogonal import Orthogonal
from constraints.simplex import Simplex
from constraints.simplextopk import SimplexTopK
from constraints.spectral import Spectral
from constraints.topk import TopK
from constraints.unitnorm import UnitNorm
from constraints.zerosum import ZeroSum

REGISTRY: dict[str, type[Constraint]] = {
    "box": Box,
    "halfspace": Halfspace,
    "hyperplane": Hyperplane,
    "l1ball": L1Ball,
    "l1sphere": L1Sphere,
    "l1topk": L1TopK,
    "lowrank": LowRank,
    "maxnorm": MaxNorm,
    "minmaxnorm": MinMaxNorm,
    "nm": NM,
    "none": Unconstrained,
    "nonneg": NonNeg,
    "nuclear": Nuclear,
    "orthogonal": Orthogonal,
    "simplex": Simplex,
    "simplextopk": SimplexTopK,
    "spectral": Spectral,
    "topk": TopK,
    "unitnorm": UnitNorm,
    "zerosum": ZeroSum,
}

__all__ = ["REGISTRY", "Constraint", "hyperparameter", "measures", "schedules"]
