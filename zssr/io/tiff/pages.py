"""The pages of a TIFF file: which of its directories are pictures, and which are previews and masks of them."""

from collections.abc import Iterator
from typing import BinaryIO

from zssr.io.limits import SAFETY
from zssr.io.picture import FIRST_PAGE
from zssr.io.tiff import ifd
from zssr.io.tiff.tags import Directory, TagCode, TagType

_PREVIEW, _MASK = 1, 4  # bits of the tag


def find_page(file: BinaryIO, header: ifd.TiffHeader, page: int) -> tuple[int, list[str]]:
    """Return the offset of the directory of a page, counted from 0, and notes on the others.

    A preview is none, unless there is nothing else: then it is looked for in directories within the first, too. Raises
    `IndexError` if there are not so many pages.
    """
    first = ifd.read_offset(file, header)
    pages = _iterate_pages(file, header, first)
    for index, offset in enumerate(pages):
        if index == page:
            return offset, [] if page or next(pages, None) is None else [FIRST_PAGE]
    if page:
        raise IndexError(f"has no page {page + 1}")
    for offset in _find_within(file, header, first):
        return offset, []
    return first, ["its first picture is a preview, and only that is taken"]


def count_directories(file: BinaryIO) -> int:
    """Return the number of pictures of a TIFF file, without previews and masks: 1 at least."""
    header = ifd.read_header(file)
    return max(1, sum(1 for _ in _iterate_pages(file, header, ifd.read_offset(file, header))))


def read_number(directory: Directory, code: TagCode) -> int:
    """Return a tag's first whole number, 0 if there is none."""
    tag = directory.get(code)
    value = tag.value if tag is not None and tag.type in (TagType.SHORT, TagType.LONG, TagType.LONG8) else None
    return int(value[0]) if isinstance(value, tuple) and value else 0


def _iterate_pages(file: BinaryIO, header: ifd.TiffHeader, offset: int) -> Iterator[int]:
    """Yield the offsets of the directories that are pictures; it ends where the file is damaged."""
    seen: set[int] = set()
    left = SAFETY.tiff_page_tags
    while offset and offset not in seen and left > 0:
        seen.add(offset)
        try:
            directory = ifd.read_directory(file, header, offset, _KINDS)
            following = ifd.read_offset(file, header)
        except ValueError:
            if len(seen) == 1:
                raise
            return
        if _is_picture(directory):
            yield offset
        offset, left = following, left - len(directory) - 1


def _find_within(file: BinaryIO, header: ifd.TiffHeader, first: int) -> Iterator[int]:
    """Yield the offsets of the pictures among the directories within the first."""
    tag = ifd.read_directory(file, header, first, {TagCode.SUB_DIRECTORIES}).get(TagCode.SUB_DIRECTORIES)
    for offset in tag.value[: SAFETY.tiff_tags] if tag and isinstance(tag.value, tuple) else ():
        try:
            directory = ifd.read_directory(file, header, int(offset), _KINDS)
        except ValueError:
            continue
        if _is_picture(directory) and read_number(directory, TagCode.PHOTOMETRIC) not in _RAW:
            yield int(offset)


_KINDS = {TagCode.SUBFILE, TagCode.OLD_SUBFILE, TagCode.PHOTOMETRIC}
_RAW = (32803, 34892)  # the numbers of a camera's sensor


def _is_picture(directory: Directory) -> bool:
    is_reduced = read_number(directory, TagCode.OLD_SUBFILE) == 2
    return not is_reduced and not read_number(directory, TagCode.SUBFILE) & (_PREVIEW | _MASK)
