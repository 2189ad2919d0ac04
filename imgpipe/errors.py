"""The error tree of imgpipe.

    ImgpipeError
    ├── ConfigError                  the user's settings or arguments (exit code 2)
    ├── ModelError                   weights and networks (exit code 2)
    │   ├── WeightsMissing           the file is not where it is looked for
    │   ├── WeightsCorrupt           the file's size or digest is not the registered one
    │   ├── WeightsRefused           a file that cannot be loaded safely, or is no known network
    │   ├── ModelMismatch            the network is not what its descriptor says (scale, channels, NaN)
    │   ├── PackagesMissing          the packages that run networks are not installed
    │   └── DeviceFault              the device fails with any picture (exit code 3): the process must end
    ├── ImageError                   one image cannot be processed: a row with status "error"
    │   ├── UnsupportedFormat        the bytes are no image format of the allow-list
    │   ├── DecodeError              empty, truncated or corrupt
    │   ├── EncodeError              the target format cannot hold this image
    │   ├── LimitExceeded            larger, smaller or narrower than the limits allow
    │   ├── ProfileUnusable          an ICC profile that does not say what its picture's values mean
    │   └── ImageRejected            a result that is not to be trusted; by the functions for Python only
    ├── InferenceError               a network failed on one image although the image is good
    │   └── OutOfMemory              even the smallest tile does not fit
    ├── ClusterUnavailable           the Ray cluster is not there, or went away: the run stops (exit code 3)
    ├── WorkerLost                   one image: a row; its worker process ended whenever it had this image
    └── StorageError                 the object store (exit code 3 unless one object alone fails)
        ├── ObjectMissing            one object: a row
        ├── ObjectChanged            one object: a row; it is not the version that was listed
        ├── ObjectUnreadable         one object: a row; permission or I/O error
        │   └── ObjectDamaged        not what was written: a cut or empty table, a wrong checksum
        ├── LeaseHeld                another process works on this and waiting was not asked for
        ├── LeaseLost                another process took over: the run of this shard stops
        ├── OutOfOrder               a listing is not in key order
        ├── ObjectExists             the object exists and overwriting was not asked for
        └── StoreUnavailable         the whole store: the run stops

Backend errors are translated at the boundary with ``raise ... from exc``. Every message says what was
expected, what came, and what to do.
"""

from __future__ import annotations

import errno

#: Numbers of an :class:`OSError` that stop everything: the disk is full or broken.
DISK_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})


class ImgpipeError(Exception):
    """Base of every error that imgpipe raises on purpose."""


class ConfigError(ImgpipeError):
    """A setting or an argument is invalid; the message names it and says what is valid."""


class ModelError(ImgpipeError):
    """An error of weights or networks."""


class WeightsMissing(ModelError):
    """A weights file is missing; the message names it, its source, its path and the command to get it."""


class WeightsCorrupt(ModelError):
    """A weights file is present but is not the registered one."""


class WeightsRefused(ModelError):
    """A weights file cannot be loaded safely or holds no known network."""


class ModelMismatch(ModelError):
    """A loaded network does not do what its descriptor says."""


class PackagesMissing(ModelError):
    """The packages that run networks are not installed."""


class DeviceFault(ModelError):
    """A GPU, its driver or its libraries fail: neither a picture nor a weights file is to blame, and CUDA
    gives this process nothing more."""


class ImageError(ImgpipeError):
    """One image cannot be processed: it gets an error row, and the run goes on."""


class UnsupportedFormat(ImageError):
    """The bytes are not an image of a format on the allow-list."""


class DecodeError(ImageError):
    """The bytes begin like an image but cannot be decoded completely."""


class EncodeError(ImageError):
    """The target format cannot store the image without a loss that was not asked for."""


class LimitExceeded(ImageError):
    """The image, or the result that would be computed from it, exceeds the configured limits."""


class ProfileUnusable(ImageError):
    """An ICC profile does not say what its picture's values mean."""


class ImageRejected(ImageError):
    """The verdict on a result is that it is not to be trusted; in a batch its row has ``rejected``."""


class InferenceError(ImgpipeError):
    """A network failed on an image that is valid."""


class OutOfMemory(InferenceError):
    """Even the smallest tile does not fit into memory."""


class ClusterUnavailable(ImgpipeError):
    """The cluster that runs the workers does not answer, or has no room for any."""


class WorkerLost(ImgpipeError):
    """The process that computed an image ended without an answer."""


class StorageError(ImgpipeError):
    """An error of the object store."""


class ObjectMissing(StorageError):
    """The object does not exist."""


class ObjectChanged(StorageError):
    """The object is not the version that was listed."""


class ObjectUnreadable(StorageError):
    """This one object cannot be read."""


class ObjectDamaged(ObjectUnreadable):
    """An object is not what was written: cut off, empty after a power cut, or not what its checksum says."""


class OutOfOrder(StorageError):
    """A listing is not in key order."""


class ObjectExists(StorageError):
    """The object exists and overwriting was not asked for."""


class LeaseHeld(StorageError):
    """Another process holds the lease."""


class LeaseLost(StorageError):
    """This process's lease has expired and another process has taken it."""


class StoreUnavailable(StorageError):
    """The whole store does not answer or refuses access."""


#: Errors that belong to one image: the engine writes a row for them and goes on.
PER_IMAGE_ERRORS = (ImageError, InferenceError, ObjectMissing, ObjectChanged, ObjectUnreadable)
