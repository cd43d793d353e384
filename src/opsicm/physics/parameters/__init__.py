"""Parameter sets: every number with unit, uncertainty, status and source, one module per source."""

from opsicm.physics.parameters.leaf import Curve, Leaf, Status
from opsicm.physics.parameters.sets import DEFAULT_SET, ParameterSet, parameter_set, parameter_set_names

__all__ = ["DEFAULT_SET", "Curve", "Leaf", "ParameterSet", "Status", "parameter_set", "parameter_set_names"]
