"""``python -m imgpipe`` is the ``imgpipe`` command."""

from __future__ import annotations

from imgpipe.cli import main

main()
