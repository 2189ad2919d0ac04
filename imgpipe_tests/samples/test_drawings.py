"""The drawings: varied, deterministic, and consistent with their mattes."""

from __future__ import annotations

import cv2
import numpy as np

from training.samples.cast import choose_characters
from training.samples.drawings import Drawing, draw_samples


def test_the_set_holds_every_kind(drawings: list[Drawing]) -> None:
    assert len(drawings) == 14
    assert len({d.name for d in drawings}) == 14
    assert {d.background for d in drawings} == {"flat", "gradient", "busy", "transparent"}
    assert {d.file_format for d in drawings} == {"PNG", "WEBP", "JPEG"}
    assert {d.image.bit_depth for d in drawings} == {8, 16}
    assert {d.image.channels for d in drawings} == {1, 3, 4}
    assert any(d.stored_orientation == 6 and d.image.icc for d in drawings)
    assert any(0 < d.jpeg_quality < 50 for d in drawings)
    for d in drawings:
        assert min(d.image.width, d.image.height) >= 320, d.name
        assert max(d.image.width, d.image.height) <= 512, d.name


def test_another_seed_draws_others_of_the_same_kinds(drawings: list[Drawing]) -> None:
    others = draw_samples(seed=7)
    for first, second in zip(drawings, others, strict=True):
        assert (first.name, first.file_format, first.background) == (
            second.name,
            second.file_format,
            second.background,
        )
        assert first.image.pixels.shape == second.image.pixels.shape
        if first.name != "10_lantern_object":
            assert not np.array_equal(first.mask, second.mask) or first.name.startswith("14"), first.name
    changed = [
        not np.array_equal(a.image.pixels, b.image.pixels) for a, b in zip(drawings, others, strict=True)
    ]
    assert sum(changed) >= 12


def test_every_drawing_is_its_foreground_over_its_backdrop(drawings: list[Drawing]) -> None:
    """The compositing equation, in closed form and with integers, within one level."""
    for d in drawings:
        pixels, mask = d.image.pixels.astype(np.int64), d.mask.astype(np.int64)[..., None]
        assert d.mask.shape == pixels.shape[:2], d.name
        if d.backdrop is None:
            assert np.array_equal(pixels[..., 3], d.mask), d.name
            assert np.array_equal(pixels[..., :3], d.foreground), d.name
            continue
        doubled = 2 * (d.foreground.astype(np.int64) * mask + d.backdrop.astype(np.int64) * (255 - mask))
        error = np.abs(2 * 255 * pixels - doubled).max() / (2 * 255)
        assert error <= 0.5, f"{d.name}: {error} levels off"


def test_masks_are_one_antialiased_subject_with_a_background(drawings: list[Drawing]) -> None:
    for d in drawings:
        share = d.mask.mean() / 255
        assert 0.12 < share < 0.75, f"{d.name}: {share:.2f} of the picture is subject"
        soft = ((d.mask > 0) & (d.mask < 255)).mean()
        assert 0.003 < soft < 0.06, f"{d.name}: {soft:.3f} of the picture is soft"
        assert len(np.unique(d.mask)) >= 12, d.name
        _, _, stats, _ = cv2.connectedComponentsWithStats((d.mask > 0).astype(np.uint8), connectivity=8)
        areas = sorted(stats[1:, cv2.CC_STAT_AREA], reverse=True)
        assert areas[0] / sum(areas) > 0.995, f"{d.name}: pieces of {areas[:5]} px"
        assert d.mask[0].max() == 0, f"{d.name} touches the top"


def test_characters_have_strands_thinner_than_three_px(drawings: list[Drawing]) -> None:
    """Opening removes what is thinner than the 5 px disc: strands that a hard erosion would lose."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    for d in drawings:
        if "object" in d.name:
            continue
        solid = (d.mask > 64).astype(np.uint8)
        lost = solid - cv2.morphologyEx(solid, cv2.MORPH_OPEN, disc)
        assert lost.sum() > 60, f"{d.name}: {lost.sum()} px of thin parts"


def test_the_16_bit_drawing_uses_its_bits(drawings: list[Drawing]) -> None:
    (deep,) = (d for d in drawings if d.image.bit_depth == 16)
    background = deep.image.pixels[deep.mask == 0]
    assert len(np.unique(background[:, 0])) > 1000
    assert (background % 257 != 0).mean() > 0.9, "the low byte is only a copy of the high byte"


def test_a_subject_stands_out_from_its_backdrop(drawings: list[Drawing]) -> None:
    """Along the border, foreground and backdrop differ; otherwise no matting could be right."""
    for d in drawings:
        if d.backdrop is None:
            continue
        soft = (d.mask > 60) & (d.mask < 195)
        scale = 255 / d.image.max_value
        apart = np.abs(d.foreground[soft].astype(float) - d.backdrop[soft]).max(axis=-1) * scale
        assert np.median(apart) > 30, (
            f"{d.name}: median {np.median(apart):.0f}, p10 {np.percentile(apart, 10):.0f}"
        )


def test_no_two_characters_look_alike() -> None:
    cast = choose_characters(12, np.random.default_rng(3))
    assert len({who.hair for who in cast}) == 12
    assert {who.style for who in cast} == {"long", "twintails", "short", "ponytail", "bob", "spiky"}
    looks = {(who.hair, who.style, who.outfit, who.accessory) for who in cast}
    assert len(looks) == 12
