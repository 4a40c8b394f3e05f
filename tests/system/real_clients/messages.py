"""The messages that Python's clients send to an echo."""

import random

SIZES = [0, 1, 2, 125, 126, 127, 1_000, 65_535, 65_536, 1_000_000]


def messages(size_max):
    """Texts, and bytes that compress well or not at all, of many sizes up to `size_max`."""
    numbers = random.Random(7)
    for size in (min(size, size_max) for size in SIZES):
        yield "語 " * (size // 4)
        yield b"abcdefgh" * (size // 8)
        yield numbers.randbytes(size)
