"""What a new process has loaded after some code."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable


def loaded_by(code: str, names: Iterable[str]) -> list[str]:
    """Those of the modules ``names`` that a process which ran ``code`` has loaded."""
    program = f"import sys\n{code}\nprint([name for name in {[*names]} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = ast.literal_eval(done.stdout.splitlines()[-1])
    return found
