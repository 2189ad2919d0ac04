"""Errors of the operating system as imgpipe's: whose fault it is, the object's or the whole folder's."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from imgpipe.errors import ObjectMissing, ObjectUnreadable, StorageError, StoreUnavailable

#: Codes for a name that nothing has.
NOT_THERE = {errno.ENOENT, errno.ENOTDIR}
#: Faults of the whole store whatever was attempted -> what to do.
_STORE_FAULTS = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up: free some space or choose another folder",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.EXDEV: "a hard link leads to the same disk only: take copies or symbolic links",
    errno.EMFILE: "raise the limit of open files (ulimit -n) or lower `workers`",
    errno.ENFILE: "the system has no file handles left: close other programs",
    errno.ESTALE: "the network share has gone: mount it again",
    errno.ENODEV: "the device has gone: mount it again",
    errno.ENOTCONN: "the network share has gone: mount it again",
}
#: Faults of one name even when writing.
_NAME_FAULTS = {errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EFBIG, errno.EILSEQ, errno.EINVAL}


def translated(exc: OSError, root: Path, where: str, *, writing: bool = False) -> StorageError:
    """imgpipe's error for one that met the object ``where`` of the folder ``root``."""
    code = exc.errno or 0
    if not root.is_dir():
        return StoreUnavailable(f"{root}: expected a folder, it is gone; mount or make it again")
    if code in _STORE_FAULTS:
        return StoreUnavailable(f"{where}: {exc.strerror}; {_STORE_FAULTS[code]}")
    if writing and code not in _NAME_FAULTS:
        return StoreUnavailable(f"{where}: cannot be written: {exc}; check permissions and disk")
    if not writing and code in NOT_THERE:
        return ObjectMissing(f"{where}: no such file")
    if not writing and not os.access(root, os.R_OK | os.X_OK):
        return StoreUnavailable(f"{root}: may not be read; check its permissions")
    return ObjectUnreadable(f"{where}: {exc.strerror or exc}; check this file's name, permissions and disk")
