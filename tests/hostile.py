"""Damaged and hostile picture files: seeds of each format, the parts that files are made of, and how they are read."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from zssr.errors import ImageError
from zssr.io.jpegxl_files import encode_jpegxl
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.reading import open_picture

LIMITS = Limits()
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "GIF": ".gif"}
MORE_SUFFIXES = {"JP2": ".jp2", "JXL": ".jxl", "AVIF": ".avif", "HEIC": ".heic", "PNM": ".ppm", "TGA": ".tga"}
MORE_SUFFIXES |= {"DDS": ".dds", "STACK": ".tif", "ULTRA": ".jpg"}
SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="1" exif:PixelXDimension="48"/></x:xmpmeta>'


def encode_image(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def make_chunk(name, data):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def make_png(width, height, *chunks, depth=8, colors=2):
    """A PNG file of these dimensions and chunks."""
    header = struct.pack(">IIBBBBB", width, height, depth, colors, 0, 0, 0)
    return b"".join([SIGNATURE, make_chunk(b"IHDR", header), *chunks, make_chunk(b"IEND", b"")])


def make_tiff(*entries, following=0, data=b""):
    """A little-endian TIFF file of one directory at offset 8, with data from offset 512 on."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    start = b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + struct.pack("<I", following)
    return start.ljust(512, b"\0") + data if data else start


def make_exif(orientation=6):
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x011B], exif[0x010F] = orientation, 72.0, 72.0, "A maker"
    exif[0x8769] = {0xA002: 48, 0xA003: 40}
    return exif


def make_seeds(photo):
    """Several small files of each format, with everything around the pixels that the format has."""
    image = Image.fromarray(photo)
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    around = {"exif": make_exif(), "icc_profile": icc, "xmp": XMP}
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "a photo", zip=True)
    texts.add_itxt("Author", "Zoë", "en", "Author")
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    shallow = Image.fromarray(photo[:9, :11])
    deep = imagecodecs.png_encode(photo[:9, :11].astype(np.uint16) * 257)
    tiled = {"tile": (16, 16)}
    found = {
        "PNG": [
            encode_image(image, "PNG", pnginfo=texts, exif=make_exif(), icc_profile=icc, dpi=(300, 300)),
            encode_image(image.quantize(15), "PNG", bits=4, transparency=3),
            encode_image(shallow.convert("1"), "PNG"),
            bytes(deep),
        ],
        "JPEG": [
            encode_image(image, "JPEG", dpi=(300, 300), **around),
            encode_image(image.convert("CMYK"), "JPEG", progressive=True),
            encode_image(shallow.convert("L"), "JPEG"),
        ],
        "WEBP": [
            encode_image(image, "WEBP", **around),
            encode_image(shallow.convert("RGBA"), "WEBP", lossless=True),
            encode_image(shallow, "WEBP", save_all=True, append_images=[shallow.rotate(180)]),
        ],
        "BMP": [
            encode_image(image, "BMP", dpi=(300, 300)),
            encode_image(shallow.quantize(9), "BMP"),
            encode_image(shallow.convert("1"), "BMP"),
        ],
        "GIF": [
            encode_image(image.quantize(32), "GIF", transparency=2),
            encode_image(shallow.quantize(9), "GIF", save_all=True, append_images=[shallow.rotate(180)]),
        ],
    }
    import tifffile

    pixels = np.asarray(image)
    for options in (
        {"compression": None, "photometric": "rgb", "resolution": (300, 300)},
        {"compression": "deflate", "photometric": "rgb", "predictor": True, **tiled},
        {"compression": "packbits", "photometric": "rgb", "planarconfig": "separate"},
        {"compression": "lzw", "photometric": "rgb", "rowsperstrip": 7},
        {"compression": "jpeg", "photometric": "rgb", **tiled},
        {"compression": "zstd", "photometric": "rgb", "bigtiff": True, "byteorder": ">"},
    ):
        file = io.BytesIO()
        planes = np.moveaxis(pixels, -1, 0) if options.get("planarconfig") else pixels
        extra = [(700, 1, len(XMP), XMP, True), (34675, 7, len(icc), icc, True), (274, 3, 1, 6, True)]
        tifffile.imwrite(file, planes, metadata=None, extratags=extra, **options)
        found.setdefault("TIFF", []).append(file.getvalue())
    found["TIFF"].append(encode_image(shallow.convert("1"), "TIFF", compression="group4"))
    return found


def make_more_seeds(photo):
    """Several small files of each of the formats in `MORE_SUFFIXES`."""
    import pillow_heif
    import tifffile

    image, small = Image.fromarray(photo), Image.fromarray(photo[:9, :11])
    pixels, few = np.asarray(image), np.asarray(small)
    around = {"exif": make_exif(), "xmp": XMP}
    deep = few.astype(np.uint16) << 2
    heic = io.BytesIO()
    pillow_heif.from_pillow(image.resize((64, 64))).save(heic, **{"exif": make_exif().tobytes(), "xmp": XMP})
    found = {
        "JP2": [
            encode_image(image, "JPEG2000"),
            bytes(imagecodecs.jpeg2k_encode(deep, level=0, bitspersample=10, codecformat="j2k")),
            bytes(imagecodecs.jpeg2k_encode(few[..., :2], level=30)),
        ],
        "JXL": [
            bytes(imagecodecs.jpegxl_encode(pixels, distance=1.0)),
            bytes(imagecodecs.jpegxl_encode(few, lossless=True, usecontainer=True)),
            bytes(imagecodecs.jpegxl_encode(deep, lossless=True, bitspersample=10)),
        ],
        "AVIF": [
            encode_image(image, "AVIF", **around),
            encode_image(small.convert("RGBA"), "AVIF", save_all=True, append_images=[small.convert("RGBA")]),
            bytes(imagecodecs.avif_encode(deep, level=90, bitspersample=10)),
        ],
        "HEIC": [heic.getvalue()],
        "PNM": [
            encode_image(image, "PPM"),
            encode_image(small.convert("1"), "PPM"),
            b"P3 # text\n2 2 1000\n" + b"1 2 3 400 5 1000\n" * 2,
        ],
        "TGA": [encode_image(image, "TGA"), encode_image(small.quantize(9), "TGA", compression="tga_rle")],
        "DDS": [
            encode_image(image, "DDS"),
            encode_image(image.resize((16, 16)).convert("RGBA"), "DDS", pixel_format="DXT5"),
        ],
    }
    found["ULTRA"] = make_ultra_hdr_files(image)
    found["AVIF"].append(bytes(imagecodecs.avif_encode(few[..., 0], level=90, primaries=9, transfer=16)))
    found["JXL"].append(bytes(imagecodecs.jpegxl_encode(np.stack([few, few[::-1]]), lossless=True)))
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found["JXL"].append(encode_jpegxl(deep, Metadata(icc=icc, xmp=XMP), 90))
    pair, two = io.BytesIO(), pillow_heif.HeifFile()
    for level in (90, 200):
        two.add_from_pillow(Image.new("L", (64, 64), level))
    two.save(pair, quality=90)
    found["HEIC"].append(pair.getvalue())
    stacks = [{"compression": kind, "photometric": "rgb"} for kind in ("lzma", "webp", "jpeg2000", "lerc", "jpegxl")]
    for options in [*stacks, {"photometric": "cielab"}, {"photometric": "rgb", "subfiletype": 1}]:
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as writer:
            for _ in range(2):
                writer.write(few, metadata=None, **options)
        found.setdefault("STACK", []).append(file.getvalue())
    file = io.BytesIO()
    tifffile.imwrite(file, deep[..., 0] << 2, bitspersample=12, metadata=None)
    tifffile.imwrite(file, few[..., 0].astype(np.int16) - 99, compression="lzma", metadata=None)
    found["STACK"].append(file.getvalue())
    return found


def make_ultra_hdr_files(image):
    """JPEG files with a gain map: that of libultrahdr, and one that XMP tells of."""
    light = np.dstack([np.asarray(image) / np.float16(60), np.ones(image.size[::-1])]).astype(np.float16)
    kinds = imagecodecs.ULTRAHDR
    first = imagecodecs.ultrahdr_encode(light, transfer=kinds.CT.LINEAR, gamut=kinds.CG.BT_709, scale=4)
    space = b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" hdrgm:GainMapMax="2"'
    xmp = b'<rdf:RDF xmlns:rdf="rdf"><rdf:Description %s/></rdf:RDF>' % space
    small = image.convert("L").reduce(4)
    second = encode_image(image, "JPEG", xmp=xmp, exif=make_exif()) + encode_image(small, "JPEG", xmp=xmp)
    return [bytes(first), second]


BOMB = 60_000  # pixels a side
SQUARE = ((258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1))  # of a gray TIFF file, but for its size


def make_webp(*chunks):
    """A WebP file of these chunks, given as (name, content)."""
    parts = [name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks]
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def make_segment(marker, data):
    """A segment of a JPEG file."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def make_bombs():
    """Headers of less than 1 kB that promise 3.6 gigapixels, by format."""
    low, high = struct.pack("<I", BOMB), struct.pack(">H", BOMB)
    frame = make_segment(0xC0, b"\x08" + high + high + b"\3\1\x11\0\2\x11\0\3\x11\0")
    info = struct.pack("<IiiHHIIiiII", 40, BOMB, BOMB, 1, 24, 0, 0, 2835, 2835, 0, 0)
    sides = ((256, 4, 1, BOMB), (257, 4, 1, BOMB), (278, 4, 1, BOMB))
    return {
        "PNG": make_png(BOMB, BOMB, make_chunk(b"IDAT", zlib.compress(bytes(100)))),
        "JPEG": b"\xff\xd8" + frame + make_segment(0xDA, b"\3\1\0\2\0\3\0\0\x3f\0") + bytes(100),
        "WEBP": make_webp((b"VP8X", bytes(4) + 2 * struct.pack("<I", BOMB - 1)[:3]), (b"VP8L", b"\x2f" + bytes(99))),
        "TIFF": make_tiff(*SQUARE, *sides, (273, 4, 1, 512), (279, 4, 1, 100), data=bytes(100)),
        "BMP": b"BM" + struct.pack("<IHHI", 154, 0, 0, 54) + info + bytes(100),
        "GIF": b"GIF89a" + low[:2] * 2 + b"\0\0\0," + bytes(4) + low[:2] * 2 + b"\0\x02\x02\x4c\x01\0;",
    }


def make_damaged(found):
    """Files that are cut off, damaged, named wrongly, or something else, by name, from what `seeds` has found."""
    draws = np.random.default_rng(7)
    suffixes = [(SUFFIXES | MORE_SUFFIXES)[kind] for kind in found]
    files = {"nothing.png": b"", "zeros.png": bytes(5000)}
    for k, (kind, suffix) in enumerate(zip(found, suffixes, strict=True)):
        whole = found[kind][0]
        for part in (0.01, 0.1, 0.3, 0.5, 0.8, 0.97):
            files[f"cut at {part}{suffix}"] = whole[: round(len(whole) * part)]
        for count in (1, 10, 100):
            flipped = np.frombuffer(whole, np.uint8).copy()
            flipped[draws.integers(0, len(whole), count)] ^= np.uint8(1 << draws.integers(8))
            files[f"{count} bits flipped{suffix}"] = flipped.tobytes()
        files[f"header{suffix}"] = whole[:33]
        files[f"half zeros{suffix}"] = whole[: len(whole) // 2].ljust(len(whole), b"\0")
        files[f"in truth {kind}{suffixes[k - 1]}"] = whole
        files[f"page{suffix}"] = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
    return files


def make_hostile(photo):
    """Files that are made to take time and memory, by name."""
    packed = zlib.compress(bytes(100_000_000), 9)
    short = zlib.compress(bytes(15_000_000), 9)[:-9]  # just below what is allowed, and broken off
    wrong = short[:-9] + b"\xff" * 18
    png, jpeg = encode_image(Image.fromarray(photo), "PNG"), encode_image(Image.fromarray(photo), "JPEG")
    loop = b"Exif\0\0" + make_tiff((0x8769, 4, 1, 8), (0x8825, 4, 1, 8), (0x0112, 3, 1, 6), following=8)
    frame = Image.new("P", (300, 300))
    frames = [Image.fromarray(draw) for draw in np.random.default_rng(0).integers(0, 255, (40, 90, 90, 3), np.uint8)]
    progressive = encode_image(Image.new("L", (4000, 3990), 9), "JPEG", progressive=True)
    scan = progressive.rfind(b"\xff\xda")
    scans = progressive[:scan] + progressive[scan:-2] * 20_000 + progressive[-2:]
    gif = encode_image(frame, "GIF")
    one = make_tiff(*SQUARE, (256, 4, 1, 8), (257, 4, 1, 8), (273, 4, 1, 8), (278, 4, 1, 8), (279, 4, 1, 64))
    many = b"".join(one[8:-4] + struct.pack("<I", 8 + len(one[8:]) * (k + 1)) for k in range(50_000))
    flat = Image.new("RGB", (6400, 6400), (200, 100, 50))
    canvas = 2 * struct.pack("<I", 9989)[:3]
    inner = encode_image(Image.new("RGB", (1, 1)), "WEBP", lossless=True)[12:]
    sparse = [(256, 4, 1, 9984), (257, 4, 1, 9984), (322, 4, 1, 128), (323, 4, 1, 128), (338, 3, 1023, 512)]
    sparse += [(258, 3, 1024, 4096), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1024), (274, 3, 1, 6)]
    sparse += [(324, 4, 78**2, 8192), (325, 4, 78**2, 8192 + 4 * 78**2)]

    def around(*chunks):
        return png[:33] + b"".join(chunks) + png[33:]

    return {
        "zTXt of 100 MB.png": around(make_chunk(b"zTXt", b"a\0\0" + packed)),
        "iTXt of 100 MB.png": around(make_chunk(b"iTXt", b"a\0\1\0\0\0" + packed)),
        "iCCP of 100 MB.png": around(make_chunk(b"iCCP", b"a\0\0" + packed)),
        "zTXt that break off.png": around(*[make_chunk(b"zTXt", b"a\0\0" + short)] * 400),
        "zTXt with errors.png": around(*[make_chunk(b"zTXt", b"a\0\0" + wrong)] * 400),
        "many chunks.png": around(*[make_chunk(b"tEXt", b"a\0b")] * 300_000),
        "IDAT of 100 MB.png": make_png(64, 48, make_chunk(b"IDAT", packed)),
        "many frames.png": encode_image(frames[0], "PNG", save_all=True, append_images=frames[1:] * 20),
        "EXIF that loops.jpg": jpeg[:2] + make_segment(0xE1, loop) + jpeg[2:],
        "EXIF that loops.png": around(make_chunk(b"eXIf", loop[6:])),
        "many segments.jpg": jpeg[:2] + make_segment(0xFE, b"") * 1_000_000 + jpeg[2:],
        "many scans.jpg": scans,
        "many frames.gif": gif[:-1] + gif[gif.find(b",") : -1] * 20_000 + b";",
        "many runs.bmp": b"BM"
        + struct.pack("<IHHI", 0, 0, 0, 54 + 1024)
        + struct.pack("<IiiHHIIiiII", 40, 4000, 4000, 1, 8, 1, 0, 0, 0, 0, 0)
        + bytes(1024)
        + b"\1\7" * 8_000_000
        + b"\0\0" * 3_000_000,
        "many comments.pgm": b"P2 " + b"#\n" * 20_000_000,
        "endless header.ppm": b"P6 9 9 " + b"9" * 20_000_000,
        "many comments.gif": gif[:13] + b"!\xfe\1a\0" * 4_000_000 + gif[13:],
        "many blocks.gif": gif[:13] + b"!\xfe" + b"\1a" * 8_000_000 + b"\0" + gif[13:],
        "many frames.webp": encode_image(frames[0], "WEBP", save_all=True, append_images=frames[1:] * 20, method=0),
        "one pixel in 99 million.webp": make_webp(
            (b"VP8X", b"\2\0\0\0" + canvas), (b"ANIM", bytes(6)), (b"ANMF", bytes(16) + inner)
        ),
        "whole and flat.webp": encode_image(flat, "WEBP", lossless=True, method=0),
        "whole and flat.png": encode_image(flat, "PNG"),
        "many directories.tif": b"II*\0" + struct.pack("<I", 8) + many,
        "directory that loops.tif": make_tiff(*SQUARE, (330, 4, 1, 8), (34665, 4, 1, 8), following=8),
        "many scans.tif": make_tiff(
            *((256, 4, 1, 4000), (257, 4, 1, 3990), (258, 3, 1, 8), (259, 3, 1, 7), (262, 3, 1, 1), (277, 3, 1, 1)),
            *((273, 4, 1, 512), (278, 4, 1, 3990), (279, 4, 1, len(scans))),
            data=scans,
        ),
        "endless tags.tif": make_tiff(*SQUARE, *((code, 4, 2**32 - 1, 8) for code in (256, 257, 273, 279))),
        "1024 empty bands.tif": make_tiff(*sparse).ljust(4096, b"\0") + b"\x08\0" * 2048 + bytes(8 * 78**2),
        "strip of 100 MB.tif": make_tiff(
            *((259, 3, 1, 8), (258, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1), (256, 4, 1, 64), (257, 4, 1, 48)),
            *((273, 4, 1, 512), (278, 4, 1, 48), (279, 4, 1, len(packed))),
            data=packed,
        ),
    }


def read_all(path):
    """Open a file and read all of its rows, which must be as announced; return the picture and the last rows."""
    with open_picture(path, LIMITS) as picture:
        height, width = picture.size
        for start in range(0, height, 256):
            stop = min(start + 256, height)
            rows = picture.rows(start, stop)
            assert rows.shape == (stop - start, width, picture.pixel_format.channels)
            assert rows.dtype == picture.pixel_format.dtype
            assert rows.dtype.isnative
        return picture, rows


def error_of(path):
    """Read a file; return the sentence of the `ImageError` that may be raised without the file's name, or None."""
    try:
        read_all(path)
    except ImageError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)
        return str(error).removeprefix(f"{path}: ")
    return None
