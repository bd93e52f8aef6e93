"""Sets of weights and exact projections onto them."""

from __future__ import annotations

from constraints import measures, schedules
from constraints.base import Constraint
from constraints.block import Block
from constraints.box import Box
from constraints.elasticnet import ElasticNet
from constraints.fields import hyperparameter
from constraints.groupsoft import GroupSoft
from constraints.halfspace import Halfspace
from constraints.hardthreshold import HardThreshold
from constraints.hyperplane import Hyperplane
from constraints.intersection import Intersection
from constraints.l1ball import L1Ball
from constraints.l1infball import L1InfBall
from constraints.l1sphere import L1Sphere
from constraints.l1topk import L1TopK
from constraints.l21ball import L21Ball
from constraints.lowrank import LowRank
from constraints.mask import Mask
from constraints.maxnorm import MaxNorm
from constraints.minmaxnorm import MinMaxNorm
from constraints.nm import NM
from constraints.none import Unconstrained
from constraints.nonneg import NonNeg
from constraints.nuclear import Nuclear
from constraints.orthogonal import Orthogonal
from constraints.simplex import Simplex
from constraints.simplextopk import SimplexTopK
from constraints.softthreshold import SoftThreshold
from constraints.spectral import Spectral
from constraints.topk import TopK
from constraints.unitnorm import UnitNorm
from constraints.unitsparse import UnitSparse
from constraints.zerosum import ZeroSum

REGISTRY: dict[str, type[Constraint]] = {
    "block": Block,
    "box": Box,
    "elasticnet": ElasticNet,
    "groupsoft": GroupSoft,
    "halfspace": Halfspace,
    "hardthreshold": HardThreshold,
    "hyperplane": Hyperplane,
    "l1ball": L1Ball,
    "l1infball": L1InfBall,
    "l1sphere": L1Sphere,
    "l1topk": L1TopK,
    "l21ball": L21Ball,
    "lowrank": LowRank,
    "mask": Mask,
    "maxnorm": MaxNorm,
    "minmaxnorm": MinMaxNorm,
    "nm": NM,
    "none": Unconstrained,
    "nonneg": NonNeg,
    "nuclear": Nuclear,
    "orthogonal": Orthogonal,
    "simplex": Simplex,
    "simplextopk": SimplexTopK,
    "softthreshold": SoftThreshold,
    "spectral": Spectral,
    "topk": TopK,
    "unitnorm": UnitNorm,
    "unitsparse": UnitSparse,
    "zerosum": ZeroSum,
}

__all__ = ["REGISTRY", "Constraint", "Intersection", "hyperparameter", "measures", "schedules"]
