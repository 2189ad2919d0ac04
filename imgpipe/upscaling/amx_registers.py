"""The eight tile registers as a block of sums uses them: four of sums, two of pixels, two of a filter."""

from __future__ import annotations

from imgpipe.upscaling.amx_instructions import tile_load, tile_product, tile_store

#: Pixels and outputs of a block, and its sums.
BLOCK_PX, BLOCK_OUTPUTS = 32, 32
SUMS = BLOCK_PX * BLOCK_OUTPUTS
#: A register's values of a filter: 16 pairs of inputs x 16 outputs x 2.
TILE = 512
LINE_BYTES = 64

# Pixels 0 to 15 and 16 to 31 times outputs 0 to 15 and 16 to 31.
load_sums_0, load_sums_1, load_sums_2, load_sums_3 = (tile_load(register) for register in range(4))
store_sums_0, store_sums_1, store_sums_2, store_sums_3 = (tile_store(register) for register in range(4))
load_pixels_0, load_pixels_1 = tile_load(4), tile_load(5)
load_filter_0, load_filter_1 = tile_load(6), tile_load(7)
add_product_0, add_product_1 = tile_product(0, 4, 6), tile_product(1, 4, 7)
add_product_2, add_product_3 = tile_product(2, 5, 6), tile_product(3, 5, 7)
