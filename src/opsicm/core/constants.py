"""Physical constants, CODATA 2018 (exact since the SI of 2019)."""

from typing import Final

FARADAY: Final = 96485.33212  # [C/mol]
GAS_CONSTANT: Final = 8.314462618  # [J/(mol K)]
BOLTZMANN: Final = 1.380649e-23  # [J/K]
ELEMENTARY_CHARGE: Final = 1.602176634e-19  # [C]
VACUUM_PERMITTIVITY: Final = 8.8541878128e-12  # [F/m]; measured, no longer exact
STANDARD_GRAVITY: Final = 9.80665  # [m/s²]
