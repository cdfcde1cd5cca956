"""Items among their neighbors: parts of iterators that are read once."""

from collections import deque
from collections.abc import Iterator, Set
from typing import TypeVar

Item = TypeVar("Item")


def slide(items: Iterator[Item], reach: int) -> Iterator[list[Item]]:
    """Yield each item in the middle of its neighbors, `reach` on each side; the first and last are repeated."""
    window: deque[Item] = deque(maxlen=2 * reach + 1)
    for item in items:
        window.extend([item] * (1 if window else reach + 1))
        if len(window) == 2 * reach + 1:
            yield list(window)
    missing = 2 * reach + 1 - len(window)
    for k in range(reach if window else 0):
        window.append(window[-1])
        if k >= missing - 1:
            yield list(window)


def spread(count: int, most: int) -> set[int]:
    """Choose at most `most` of `count` numbers from 0, at equal distances."""
    return {(2 * k + 1) * count // (2 * most) for k in range(most)}


def pick(items: Iterator[Item], chosen: Set[int]) -> list[Item]:
    """Return the chosen items, by their places, and go through all the others."""
    return [item for k, item in enumerate(items) if k in chosen]


def split_range(whole: range, most: int) -> list[range]:
    """Split a range into parts of `most` numbers; the last has fewer."""
    return [whole[k : k + most] for k in range(0, len(whole), most)]
