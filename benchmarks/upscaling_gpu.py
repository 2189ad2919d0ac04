"""Rows of ``upscaling.py`` that matter on a GPU: batches, and a whole stage with decoding and encoding."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import machine
import numpy as np
import torch
from upscaling_contenders import (
    FLOP_PER_OUTPUT_PIXEL,
    SCALE,
    Pixels,
    enlarger,
    in_turns,
    matrix_edges,
    matrix_product,
    ours,
    picture,
    realesrganer,
    settings,
)

from imgpipe.config import Settings
from imgpipe.engines.local import run_items
from imgpipe.engines.work import ObjectRef, WorkItem
from imgpipe.records import ImageRow, Status
from imgpipe.stages.upscale import UpscaleStage
from imgpipe.storage.opening import open_store
from imgpipe.upscaling.network import Floats, Network
from imgpipe.upscaling.quantising_network import QuantisingNetwork


def batches(
    name: str, path: Path, options: argparse.Namespace, device: str, real: Sequence[Pixels], edge: int
) -> dict[str, Any]:
    """A square source: the network in batches, one picture from end to end, RealESRGANer at tile 512."""
    pixels = picture(edge, edge, real)
    upscaler = ours(path, device, tile_size=0)
    network = upscaler._loaded.network
    window = pixels.astype(np.float32)[None] / np.float32(255)
    product, product_flop = matrix_product(
        network.precision, device, matrix_edges(device)[-1], once=options.quick
    )
    skipped: dict[str, str] = {}
    calls: dict[str, Callable[[], object]] = {
        "matrix product": product,
        "ours, one picture": partial(enlarger(upscaler), pixels),
    }
    for batch in options.batches:
        windows = np.repeat(window, batch, axis=0)
        calls[f"ours, network, batch {batch}"] = partial(_run_all, network, windows)
        if options.compile and isinstance(network, QuantisingNetwork):
            label = f"torch.compile, {options.compile}, batch {batch}"
            if machine.compiler():
                calls[label] = _compiled_network(network, windows, options.compile)
            else:
                skipped[label] = "torch.compile needs a C compiler: none of cc, gcc and clang is here"
    theirs = realesrganer(name, path, 512, device)
    if not isinstance(theirs, str):
        calls["RealESRGANer tile 512"] = partial(theirs, pixels)
    best = in_turns(calls, options.rounds, skipped)
    rate = product_flop / best.pop("matrix product", float("inf"))
    row = {"precision": network.precision, "skipped": skipped, **_batch_row(name, edge, best, rate)}
    print(f"  {edge}^2: {row}")
    return row


def _compiled_network(network: QuantisingNetwork, windows: Floats, mode: str) -> Callable[[], None]:
    """The module by itself: windows on the device in, enlarged ones there out."""
    inner = network.inner
    module: Any = inner._active  # with ``strips``, which torch's type does not declare
    device = inner.device
    pixels = torch.from_numpy(windows).permute(0, 3, 1, 2).to(device)
    compiled = torch.compile(
        lambda values: torch.cat([rows for _, rows in module.strips(values)], dim=2), mode=mode
    )

    def run() -> None:
        with torch.no_grad():
            compiled(pixels)
        if device.type != "cpu":
            torch.cuda.synchronize()

    return run


def _run_all(network: Network, windows: Floats) -> None:
    for _ in network.strips(windows):
        pass


def _batch_row(name: str, edge: int, best: dict[str, float], rate: float) -> dict[str, Any]:
    flop = FLOP_PER_OUTPUT_PIXEL[name] * edge**2 * SCALE**2
    theirs = best.get("RealESRGANer tile 512")
    row: dict[str, Any] = {"edge_px": edge, "matrix_product_tflops": rate / 1e12}
    for label, seconds in best.items():
        count = int(label.rsplit(" ", 1)[1]) if "batch" in label else 1
        row[label] = {
            "images_per_second": count / seconds,
            "share_of_matrix_product": flop * count / seconds / rate if rate else None,
            "times_realesrganer": None if theirs is None else theirs * count / seconds,
        }
    return row


def stage(path: Path, options: argparse.Namespace, real: Sequence[Pixels]) -> dict[str, Any]:
    """PNG files in, PNG files out, through the engine: images/s and how much of it the network was busy."""
    edge, count = options.stage_size, options.stage_images
    with tempfile.TemporaryDirectory() as folder:
        chosen = Settings()
        source, output = (
            open_store(f"{folder}/{name}", chosen.s3, create=True) for name in ("source", "output")
        )
        for index in range(count):
            image = picture(edge, edge, real, index)
            packed = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
            source.write(f"{index}.png", packed, overwrite=False)
        upscale = UpscaleStage(
            settings(str(path)), chosen.model_dir, options.device, chosen.limits.max_output_pixels
        )
        upscale.load()
        items = [_item(f"{index}.png", source, chosen) for index in range(count)]
        run_items(upscale, "upscaled_images", items[:1], output)  # the first one warms up
        with _gpu_busy() as samples:
            begin = time.perf_counter()
            rows = run_items(upscale, "upscaled_images", items, output, workers=options.workers)
            seconds = time.perf_counter() - begin
    failed = [row.error_message for row in rows if row.status is not Status.OK]
    if failed:
        raise RuntimeError(f"{len(failed)} of {count} pictures failed, the first with: {failed[0]}")
    totals = {key: sum(row.seconds.get(key, 0.0) for row in rows) for key in sorted(rows[0].seconds)}
    result = {
        "edge_px": edge,
        "images": count,
        "images_per_second": count / seconds,
        "network_busy_share": totals["network"] / seconds,
        "gpu_busy_share": sum(samples) / len(samples) / 100 if samples else None,
        "seconds_per_image": {key: value / count for key, value in totals.items()},
    }
    print(f"  stage: {result}")
    return result


def _item(key: str, source: Any, chosen: Settings) -> WorkItem:
    row = ImageRow(source_key=key, image_id=Path(key).stem, etag="", status=Status.OK)
    reference = ObjectRef(source, key, chosen.limits, own=True)
    return WorkItem(
        row,
        {"source": reference},
        {},
        lambda *kind: f"{Path(key).stem}-{'.'.join(kind)}",
        lambda digests, _: "",
    )


@contextmanager
def _gpu_busy() -> Any:
    """Samples of the utilization of this process's GPU, percent, ten a second; empty without the tool."""
    samples: list[float] = []
    if shutil.which("nvidia-smi") is None:
        yield samples
        return
    chosen = f"GPU-{torch.cuda.get_device_properties().uuid}" if torch.cuda.is_available() else "0"
    command = ["nvidia-smi", "-i", chosen, "-lms", "100"]
    command += ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def read() -> None:
        samples.extend(float(line) for line in process.stdout or () if line.strip().isdigit())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield samples
    finally:
        process.terminate()
        process.wait()
        reader.join()
