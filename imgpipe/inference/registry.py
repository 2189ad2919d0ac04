"""Every published weights file that may be asked for by name. No imports but the standard library's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

Task = Literal["matting", "upscaling"]


@dataclass(frozen=True, slots=True)
class Weights:
    """One published weights file.

    ``licence``: SPDX identifier under which its authors publish it; ``commercial``: whether it allows
    commercial use without a fee. ``scale``: enlargement factor of an upscaling network, ``None`` for matting.
    ``contract``: of a matting network, a name of ``imgpipe.settings.contracts``. ``sha256``, ``md5``: hex.

    ``md5`` is set where it is all that rembg's source has: size and sha256 are then those of public copies of
    the file, and a download must have both digests.
    """

    name: str
    task: Task
    url: str
    size_bytes: int
    sha256: str
    licence: str
    authors: str
    network: str
    notes: str
    scale: int | None = None
    contract: str = ""
    md5: str = ""
    commercial: bool = True

    @property
    def filename(self) -> str:
        """Its name in the model folder: the one that it is published under."""
        return self.url.rpartition("/")[2]

    @property
    def digests(self) -> str:
        """The digests that a download must have, as text."""
        return f"sha256 {self.sha256}, md5 {self.md5}" if self.md5 else f"sha256 {self.sha256}"


_REMBG = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"
_REAL_ESRGAN = "https://github.com/xinntao/Real-ESRGAN/releases/download"

_U2NET = Weights(
    name="u2net",
    task="matting",
    url=f"{_REMBG}/u2net.onnx",
    size_bytes=175_997_641,
    sha256="8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
    licence="Apache-2.0",
    authors="Xuebin Qin et al. (U-2-Net)",
    network="U2-Net, 320x320, ONNX",
    notes="Salient objects in photographs; coarse edges on drawings.",
    contract="u2net",
)

_BIREFNET = Weights(
    name="birefnet-general",
    task="matting",
    url=f"{_REMBG}/BiRefNet-general-epoch_244.onnx",
    size_bytes=972_666_916,
    sha256="58f621f00f5d756097615970a88a791584600dcf7c45b18a0a6267535a1ebd3c",
    md5="7a35a0141cbbc80de11d9c9a28f52697",
    licence="MIT",
    authors="Peng Zheng et al. (BiRefNet)",
    network="BiRefNet, Swin-L, 1024x1024, ONNX",
    notes="Any subject, in fine detail.",
    contract="birefnet",
)

_ALL = (
    Weights(
        name="isnet-anime",
        task="matting",
        url=f"{_REMBG}/isnet-anime.onnx",
        size_bytes=176_069_933,
        sha256="f15622d853e8260172812b657053460e20806f04b9e05147d49af7bed31a6e99",
        licence="Apache-2.0",
        authors="SkyTNT (anime-segmentation)",
        network="IS-Net, 1024x1024, ONNX",
        notes="Anime characters. The same file as isnetis.onnx of github.com/SkyTNT/anime-segmentation.",
        contract="isnet-anime",
    ),
    _U2NET,
    replace(
        _U2NET,
        name="u2netp",
        url=f"{_REMBG}/u2netp.onnx",
        size_bytes=4_574_861,
        sha256="309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        md5="8e83ca70e441ab06c318d82300c84806",
        network="U2-Net, small, 320x320, ONNX",
        notes="Salient objects, quick and coarse.",
    ),
    replace(
        _U2NET,
        name="u2net_human_seg",
        url=f"{_REMBG}/u2net_human_seg.onnx",
        sha256="01eb6a29a5c4d8edb30b56adad9bb3a2a0535338e480724a213e0acfd2d1c73c",
        md5="c09ddc2e0104f800e3e1bb4652583d1f",
        notes="People in photographs.",
    ),
    replace(
        _U2NET,
        name="silueta",
        url=f"{_REMBG}/silueta.onnx",
        size_bytes=44_173_029,
        sha256="75da6c8d2f8096ec743d071951be73b4a8bc7b3e51d9a6625d63644f90ffeedb",
        md5="55e59e0d8062d2f5d013f4725ee84782",
        notes="U2-Net reduced in size, from issue 295 of its authors' repository, whose licence is given.",
    ),
    Weights(
        name="isnet-general-use",
        task="matting",
        url=f"{_REMBG}/isnet-general-use.onnx",
        size_bytes=178_648_008,
        sha256="60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
        licence="Apache-2.0",
        authors="Xuebin Qin et al. (DIS)",
        network="IS-Net, 1024x1024, ONNX",
        notes="Any subject: objects, animals, people. Its training set DIS5K has terms of use of its own.",
        contract="isnet",
    ),
    _BIREFNET,
    replace(
        _BIREFNET,
        name="birefnet-general-lite",
        url=f"{_REMBG}/BiRefNet-general-bb_swin_v1_tiny-epoch_232.onnx",
        size_bytes=224_005_088,
        sha256="5600024376f572a557870a5eb0afb1e5961636bef4e1e22132025467d0f03333",
        md5="4fab47adc4ff364be1713e97b7e66334",
        network="BiRefNet, Swin-T, 1024x1024, ONNX",
        notes="Any subject; a quarter of the general one's weights.",
    ),
    replace(
        _BIREFNET,
        name="birefnet-portrait",
        url=f"{_REMBG}/BiRefNet-portrait-epoch_150.onnx",
        sha256="1ba1c8ff5a7bbfadc8d8d13fb11d7be793f91f23d9d466549e37a854f6668f99",
        md5="c3a64a6abf20250d090cd055f12a3b67",
        notes="Portraits; its training set P3M-10k has terms of use of its own.",
    ),
    replace(
        _BIREFNET,
        name="birefnet-dis",
        url=f"{_REMBG}/BiRefNet-DIS-epoch_590.onnx",
        sha256="6470117bac6f8d82a3f62921056f52d0f5c4d36d1d832096331d5ea38a03acb5",
        md5="2d4d44102b446f33a4ebb2e56c051f2b",
        notes="Objects with thin parts; its training set DIS5K has terms of use of its own.",
    ),
    replace(
        _BIREFNET,
        name="birefnet-hrsod",
        url=f"{_REMBG}/BiRefNet-HRSOD_DHU-epoch_115.onnx",
        sha256="4f5837663194fb88f603b76782eae05a3c29f5749872ca1bfb636bd26e7f6bfc",
        md5="c017ade5de8a50ff0fd74d790d268dda",
        notes="Salient objects in large photographs.",
    ),
    replace(
        _BIREFNET,
        name="birefnet-massive",
        url=f"{_REMBG}/BiRefNet-massive-TR_DIS5K_TR_TEs-epoch_420.onnx",
        sha256="a94814cac438a31f95287811882628644a04b22d313ef3071d2ba904b5f627b8",
        md5="33e726a2136a3d59eb0fdf613e31e3e9",
        notes="Any subject, trained on more sets, DIS5K among them, which has terms of use of its own.",
    ),
    Weights(
        name="ben2",
        task="matting",
        url="https://huggingface.co/PramaLLC/BEN2/resolve/e48a20765fb421d19dcdb0bf3cc61e802ca5ec8f/BEN2_Base.onnx",
        size_bytes=222_932_053,
        sha256="22cea62108ff53b7ccc20f7a008bf30494228d84b1687f29ecbe76936a998101",
        licence="MIT",
        authors="Prama LLC (BEN2)",
        network="BEN2 base, 1024x1024, ONNX, float16 inside",
        notes="Any subject; hair and thin parts.",
        contract="ben2",
    ),
    Weights(
        name="bria-rmbg",
        task="matting",
        url=f"{_REMBG}/bria-rmbg-2.0.onnx",
        size_bytes=1_024_331_469,
        sha256="5b486f08200f513f460da46dd701db5fbb47d79b4be4b708a19444bcd4e79958",
        licence="LicenseRef-BRIA-RMBG-2.0",
        authors="BRIA AI (RMBG-2.0)",
        network="BiRefNet, 1024x1024, ONNX",
        notes="Commercial use needs a paid agreement with its authors: huggingface.co/briaai/RMBG-2.0.",
        contract="rmbg",
        commercial=False,
    ),
    Weights(
        name="realesrgan-anime-6b",
        task="upscaling",
        url=f"{_REAL_ESRGAN}/v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth",
        size_bytes=17_938_799,
        sha256="f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
        licence="BSD-3-Clause",
        authors="Xintao Wang et al. (Real-ESRGAN)",
        network="RRDBNet, 64 features, 6 blocks, growth 32",
        scale=4,
        notes="Anime illustrations, still pictures.",
    ),
    Weights(
        name="realesr-animevideov3",
        task="upscaling",
        url=f"{_REAL_ESRGAN}/v0.2.5.0/realesr-animevideov3.pth",
        size_bytes=2_504_012,
        sha256="b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
        licence="BSD-3-Clause",
        authors="Xintao Wang et al. (Real-ESRGAN)",
        network="SRVGGNetCompact, 64 features, 16 convolutions, PReLU",
        scale=4,
        notes="Anime video frames; about nine times less arithmetic than the 6B network.",
    ),
)

#: Every model that may be asked for by name.
REGISTRY: Mapping[str, Weights] = MappingProxyType({weights.name: weights for weights in _ALL})
