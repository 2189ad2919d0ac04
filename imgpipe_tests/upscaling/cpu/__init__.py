"""Tests of what the CPU's matrix unit computes; those that run its loops need the unit."""

from __future__ import annotations

import pytest

from imgpipe.upscaling.cpu.matrix_unit import is_usable
from imgpipe_tests.conftest import NO_MATRIX_UNIT

needs_amx = pytest.mark.skipif(not is_usable(), reason=NO_MATRIX_UNIT)
