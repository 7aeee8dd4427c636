"""Owns which image sizes the networks can be built for: doublings of a 4- to 7-pixel base."""

SMALLEST_SIDE, LARGEST_SIDE = 16, 512


def num_levels(height: int, width: int) -> int:
    """Returns k such that the smaller side divided by 2^k is 4, 5, 6 or 7.

    Raises ValueError, naming the nearest legal sizes, if a side is outside 16..512 or not a
    multiple of 2^k.
    """
    if not _is_legal(height, width):
        raise ValueError(
            f"image size {height}x{width} cannot be built from doublings of a 4- to 7-pixel base; "
            f"nearest legal sizes: {', '.join(_nearest_legal(height, width))}"
        )
    return (min(height, width) // 4).bit_length() - 1


def _is_legal(height: int, width: int) -> bool:
    small, large = sorted((height, width))
    if not (SMALLEST_SIDE <= small and large <= LARGEST_SIDE):
        return False
    factor = 1 << ((small // 4).bit_length() - 1)
    return small % factor == 0 and large % factor == 0


def _nearest_legal(height: int, width: int) -> list[str]:
    sides = range(SMALLEST_SIDE, LARGEST_SIDE + 1)
    if height == width:
        pairs = [(side, side) for side in sides if _is_legal(side, side)]
    else:
        pairs = [(h, w) for h in sides[::4] for w in sides[::4] if _is_legal(h, w)]
    pairs.sort(key=lambda pair: abs(pair[0] - height) + abs(pair[1] - width))
    return [f"{h}x{w}" for h, w in sorted(pairs[:3])]
