"""Small good files of every format, with metadata where they can hold it: what fuzzing starts from."""

from __future__ import annotations

import io

import PIL.Image
import tifffile

from imgpipe_tests.images import hostile, profiles, sources


def seed_files() -> list[bytes]:
    icc = sources.srgb()
    files = [sources.make_png(kind, 8, icc, 6)[0] for kind in ("grey", "LA", "palette+tRNS", "RGBA")]
    files += [sources.make_png("RGB", 16, icc, 3)[0]]
    files += [
        sources.make_tiff(kind, depth, icc, 5)[0] for kind in ("LA", "RGB", "CMYK") for depth in (8, 16)
    ]
    files += [_packed_tiff(packing) for packing in ("jpeg", "jpeg2000", "webp", "lzw")]
    files += [sources.make_pillow("JPEG", kind, icc, 8)[0] for kind in ("grey", "RGB", "CMYK")]
    files += [sources.make_pillow("WEBP", "RGBA", icc, 2, lossless=lossless)[0] for lossless in (True, False)]
    files += [sources.make_pillow("AVIF", "RGBA", icc, 7)[0], sources.make_deep_avif("RGB", 10, icc)[0]]
    files += [
        sources.make_pillow("JPEG", "RGB", odd, 1)[0] for odd in (profiles.table(3), sources.cmyk_icc())
    ]
    files += [sources.make_tiff("grey", 8, profiles.rgb("P3", profiles.P3, 1.8), 1)[0]]
    files += [hostile.pillow_file("GIF"), hostile.pillow_file("BMP")]
    files += [_animated(fmt) for fmt in ("GIF", "PNG", "WEBP", "AVIF", "TIFF")]
    files += [data for data, kept in hostile.corpus().values() if kept is None and len(data) < 100_000]
    return files


def _packed_tiff(packing: str) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, sources.picture(3, 8), photometric="rgb", compression=packing)
    return buffer.getvalue()


def _animated(fmt: str) -> bytes:
    frames = [PIL.Image.fromarray(sources.picture(3, 8, seed)) for seed in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, fmt, save_all=True, append_images=frames[1:])
    return buffer.getvalue()
