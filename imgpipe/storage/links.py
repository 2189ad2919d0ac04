"""Which symbolic links a folder's listing follows.

``inside``: those whose target lies inside the root; ``always``: all; ``never``: none. A link to a folder is
followed where it does not lead into a circle (to a folder that it lies in), and not below another such link:
so every listing ends. Whatever is left out has a reason.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FollowLinks = Literal["inside", "always", "never"]

BROKEN = "links to nothing"
CIRCLE = "links that lead in a circle"
NESTED = "links to folders below a linked folder"
NEVER = "links (intake.follow_links: never)"
OUTSIDE = "links out of the source (intake.follow_links: always takes them)"
SPECIAL = "pipes, sockets and devices"
_REASONS = {
    errno.ENOENT: BROKEN,
    errno.ENOTDIR: BROKEN,
    errno.ELOOP: CIRCLE,
    errno.EACCES: "links to what may not be read",
    errno.ENAMETOOLONG: "links with a name that is too long",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a link leads: ``info`` of the file or folder, or the ``reason`` to leave it out."""

    path: Path
    info: os.stat_result | None = None
    reason: str = ""

    @property
    def is_folder(self) -> bool:
        return self.info is not None and stat.S_ISDIR(self.info.st_mode)


def follow(link: Path, root: Path, policy: FollowLinks) -> Target:
    """Follow the link at this path. ``root``: the store's folder, without links in its path.

    Raises OSError where the file system does not answer.
    """
    try:
        path = link.resolve(strict=True)
        info = path.stat()
    except (OSError, RuntimeError) as exc:
        reason = CIRCLE if isinstance(exc, RuntimeError) else _REASONS.get(exc.errno or 0)
        if reason is None:
            raise
        return Target(link.readlink(), reason=reason)
    if policy == "never":
        return Target(path, reason=NEVER)
    if policy == "inside" and not path.is_relative_to(root):
        return Target(path, reason=OUTSIDE)
    if stat.S_ISDIR(info.st_mode):
        lies_in = link.parent.resolve()
        if lies_in.is_relative_to(path):
            return Target(path, reason=CIRCLE)
        if lies_in != link.parent:
            return Target(path, reason=NESTED)
    elif not stat.S_ISREG(info.st_mode):
        return Target(path, reason=SPECIAL)
    return Target(path, info)
