"""The error tree of imgpipe.

    ImgpipeError
    ├── ConfigError                  the user's settings or arguments (exit code 2)
    ├── ModelError                   weights and networks (exit code 2)
    │   ├── WeightsMissing           the file is not where it is looked for
    │   ├── WeightsCorrupt           the file's size or digest is not the registered one
    │   ├── WeightsRefused           a file that cannot be loaded safely, or is no known network
    │   ├── ModelMismatch            the network is not what its descriptor says (scale, channels, NaN)
    │   └── PackagesMissing          what runs networks is not installed
    ├── ImageError                   one image's fault: a row with status "error"
    │   ├── UnsupportedFormat        bytes that are no image of the allow-list
    │   ├── DecodeError              empty, truncated or corrupt
    │   ├── EncodeError              the target format cannot hold this image
    │   └── LimitExceeded            larger, smaller or narrower than the limits allow
    ├── InferenceError               a network failed on one image although the image is good
    │   └── OutOfMemory              even the smallest tile does not fit
    └── StorageError                 the store (exit code 3 unless it is one object's)
        ├── ObjectMissing            one object: a row
        ├── ObjectChanged            one object: a row; it is not what was listed
        ├── ObjectUnreadable         one object: a row; permission, I/O error on it alone
        ├── ObjectExists             a write that must not overwrite
        └── StoreUnavailable         the whole store: the run stops

Backend errors are translated at the boundary with ``raise ... from exc``. Every message says what was
expected, what came, and what to do.
"""

from __future__ import annotations


class ImgpipeError(Exception):
    """Base of every error that imgpipe raises on purpose."""


class ConfigError(ImgpipeError):
    """A setting or an argument cannot work; the message names it and says what would be valid."""


class ModelError(ImgpipeError):
    """Something about weights or networks."""


class WeightsMissing(ModelError):
    """A weights file is not present; the message says which, from where, where to put it, and the command."""


class WeightsCorrupt(ModelError):
    """A weights file is present but is not the registered one."""


class WeightsRefused(ModelError):
    """A weights file cannot be loaded safely or holds no network that is known."""


class ModelMismatch(ModelError):
    """A loaded network does not do what its descriptor says."""


class PackagesMissing(ModelError):
    """The packages that run networks are not installed."""


class ImageError(ImgpipeError):
    """One image's fault; it costs one row, never the run."""


class UnsupportedFormat(ImageError):
    """The bytes are not an image of a format on the allow-list."""


class DecodeError(ImageError):
    """The bytes claim to be an image but cannot be decoded completely."""


class EncodeError(ImageError):
    """The image cannot be held by the target format without loss that was not asked for."""


class LimitExceeded(ImageError):
    """The image, or what would be made of it, is outside the configured limits."""


class InferenceError(ImgpipeError):
    """A network failed on an image that is itself good."""


class OutOfMemory(InferenceError):
    """Even the smallest tile does not fit into memory."""


class StorageError(ImgpipeError):
    """The object store."""


class ObjectMissing(StorageError):
    """The object does not exist."""


class ObjectChanged(StorageError):
    """The object is not the version that was listed."""


class ObjectUnreadable(StorageError):
    """This one object cannot be read."""


class ObjectExists(StorageError):
    """The object exists and overwriting was not asked for."""


class StoreUnavailable(StorageError):
    """The store as a whole does not answer or refuses access."""


#: Errors that belong to one image: the engine writes a row for them and goes on.
PER_IMAGE_ERRORS = (ImageError, InferenceError, ObjectMissing, ObjectChanged, ObjectUnreadable)
