"""The rearranged networks compute what the original ones do."""

from __future__ import annotations

import pytest
import torch
from spandrel.architectures.ESRGAN import ESRGAN

from imgpipe.upscaling import network_forms
from imgpipe.upscaling.network_forms import CompactForm, EsrganForm, has_compact_form, has_esrgan_form
from imgpipe_tests.upscaling.conftest import lively, tiny_compact, tiny_rrdb


def _pixels() -> torch.Tensor:
    return torch.rand((1, 3, 37, 29), generator=torch.Generator().manual_seed(0))


def _whole(form: CompactForm | EsrganForm) -> torch.Tensor:
    strips = list(form.strips(_pixels().contiguous(memory_format=torch.channels_last)))
    starts = [start for start, _ in strips]
    rows = [strip.shape[2] // form.factor for _, strip in strips]
    assert starts == [sum(rows[:index]) for index in range(len(rows))], "no row twice, none left out"
    return torch.cat([strip for _, strip in strips], dim=2)


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_compact_form_is_the_network(scale: int, device_type: str) -> None:
    """In bands of rows as on a CPU, and all at once as on a GPU."""
    with torch.inference_mode():
        module = tiny_compact(scale=scale)
        result = _whole(CompactForm(module, torch.float32, device_type))
        torch.testing.assert_close(result, module(_pixels()), atol=1e-5, rtol=0)


def test_the_tail_in_strips_is_the_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.inference_mode():
        for module in (tiny_rrdb(), lively(ESRGAN(num_filters=16, num_blocks=1, scale=2))):
            expected = module(_pixels())
            for strip_pixels in (1, 200, 10**6):
                monkeypatch.setattr(network_forms, "_TAIL_PIXELS", {"cpu": strip_pixels})
                result = _whole(EsrganForm(module, torch.float32, "cpu"))
                torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


def test_the_base_is_added_in_fp32() -> None:
    module = tiny_compact()
    for values in module.parameters():
        values.requires_grad_(False).zero_()
    with torch.inference_mode():
        result = _whole(CompactForm(module, torch.bfloat16, "cpu"))
    expected = torch.nn.functional.interpolate(_pixels(), scale_factor=4, mode="nearest")
    assert torch.equal(result, expected), "bf16 would keep 8 bits of the picture"


def test_the_original_is_left_as_it_was() -> None:
    module = tiny_compact()
    CompactForm(module, torch.bfloat16, "cpu")
    assert {values.dtype for values in module.parameters()} == {torch.float32}


def test_only_what_can_be_taken_apart_is() -> None:
    assert has_compact_form(tiny_compact())
    assert not has_compact_form(tiny_compact(channels=1))
    assert has_esrgan_form(tiny_rrdb())
    assert not has_esrgan_form(ESRGAN(in_nc=12, num_filters=16, num_blocks=1, scale=4, shuffle_factor=2))
    assert not has_esrgan_form(torch.nn.Conv2d(3, 3, 1))
