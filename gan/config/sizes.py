"""The image sizes that the networks can be built for: doublings of a base of 4 to 7 pixels; and
how far an image of a size may be shifted."""

SMALLEST_SIDE, LARGEST_SIDE = 16, 512


def num_levels(height: int, width: int) -> int:
    """Returns k such that the shorter side divided by 2^k is 4, 5, 6 or 7.

    Raises ValueError, with the nearest valid sizes, if a side is outside 16..512 or not a multiple
    of 2^k.
    """
    if not _is_valid(height, width):
        raise ValueError(
            f"image size {height}x{width} is not a base of 4 to 7 pixels doubled a few times; "
            f"nearest valid sizes: {', '.join(_nearest_valid(height, width))}"
        )
    return (min(height, width) // 4).bit_length() - 1


def largest_translation(side: int) -> int:
    """Returns the largest shift of an augmented image along a side, in pixels."""
    return round(side / 8)


def _is_valid(height: int, width: int) -> bool:
    short, long = sorted((height, width))
    if not (SMALLEST_SIDE <= short and long <= LARGEST_SIDE):
        return False
    factor = 1 << ((short // 4).bit_length() - 1)
    return short % factor == 0 and long % factor == 0


def _nearest_valid(height: int, width: int) -> list[str]:
    sides = range(SMALLEST_SIDE, LARGEST_SIDE + 1)
    if height == width:
        pairs = [(side, side) for side in sides if _is_valid(side, side)]
    else:
        pairs = [(h, w) for h in sides[::4] for w in sides[::4] if _is_valid(h, w)]
    pairs.sort(key=lambda pair: abs(pair[0] - height) + abs(pair[1] - width))
    return [f"{h}x{w}" for h, w in sorted(pairs[:3])]
