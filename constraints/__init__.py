"""Sets of weights and exact projections onto them."""

from __future__ import annotations

from . import measures, numerics, schedules
from .base import GROUPINGS, Constraint
from .hyperparameters import hyperparameter
from .intersection.feasibility import check_nonempty
from .intersection.intersection import Intersection
from .penalties.elasticnet import ElasticNet
from .penalties.groupsoft import GroupSoft
from .penalties.hardthreshold import HardThreshold
from .penalties.softthreshold import SoftThreshold
from .sets._matrix import MatrixSet
from .sets.block import Block
from .sets.box import Box
from .sets.halfspace import Halfspace
from .sets.hyperplane import Hyperplane
from .sets.l1ball import L1Ball
from .sets.l1infball import L1InfBall
from .sets.l1sphere import L1Sphere
from .sets.l1topk import L1TopK
from .sets.l21ball import L21Ball
from .sets.lowrank import LowRank
from .sets.mask import Mask
from .sets.maxnorm import MaxNorm
from .sets.minmaxnorm import MinMaxNorm
from .sets.nm import NM
from .sets.none import Unconstrained
from .sets.nonneg import NonNeg
from .sets.nuclear import Nuclear
from .sets.orthogonal import Orthogonal
from .sets.simplex import Simplex
from .sets.simplextopk import SimplexTopK
from .sets.spectral import Spectral
from .sets.topk import TopK
from .sets.unitnorm import UnitNorm
from .sets.unitsparse import UnitSparse
from .sets.zerosum import ZeroSum

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

__all__ = [
    "GROUPINGS",
    "NM",
    "REGISTRY",
    "Block",
    "Box",
    "Constraint",
    "ElasticNet",
    "GroupSoft",
    "Halfspace",
    "HardThreshold",
    "Hyperplane",
    "Intersection",
    "L1Ball",
    "L1InfBall",
    "L1Sphere",
    "L1TopK",
    "L21Ball",
    "LowRank",
    "Mask",
    "MatrixSet",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "Nuclear",
    "Orthogonal",
    "Simplex",
    "SimplexTopK",
    "SoftThreshold",
    "Spectral",
    "TopK",
    "Unconstrained",
    "UnitNorm",
    "UnitSparse",
    "ZeroSum",
    "check_nonempty",
    "hyperparameter",
    "measures",
    "numerics",
    "schedules",
]
