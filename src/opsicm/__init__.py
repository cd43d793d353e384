"""opsicm: operando scanning ion conductance microscopy of battery electrodes."""
