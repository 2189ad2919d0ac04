"""The parts of the matting benchmark: its cases, who is compared, the solver's check, the classical table."""
