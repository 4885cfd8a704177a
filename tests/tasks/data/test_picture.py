"""One picture from a file: its greys, its reader, and the same numbers as in a data set."""

import io
import json
import os
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from metalearn_edu import Preparation, load_image_folder, load_picture, read_image_folder
from metalearn_edu.tasks.data.picture import IMAGE_SUFFIXES, read_picture

RAMP = np.tile(np.linspace(0, 1, 40), (40, 1))


def save(path, picture, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(path, **options)
    return path


def png16(pixels):
    """A PNG file of 16 bits a channel, written by hand: (H, W, C) with C 2, 3 or 4."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return png_of(IHDR=head, IDAT=zlib.compress(rows), IEND=b"")


def png_of(**chunks):
    named = [(name.encode(), data) for name, data in chunks.items()]
    body = b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in named
    )
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(pixels, photometry=1, order="<", packed=False, planes=1):
    """A grey TIFF file, written by hand; Pillow does not write all these kinds."""
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    height, width = pixels.shape
    numbers = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    numbers = zlib.compress(numbers) if packed else numbers
    sizes = {256: width, 257: height, 258: 8 * pixels.itemsize, 278: height, 279: len(numbers)}
    tags = {**sizes, 259: 8 if packed else 1, 262: photometry, 273: 0, 277: 1, 339: kind}
    tags[284] = planes
    tags[273] = 8 + 2 + 12 * len(tags) + 4  # where the pixels begin
    entries = b"".join(struct.pack(f"{order}HHII", t, 4, 1, tags[t]) for t in sorted(tags))
    directory = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}I", 8) + directory + numbers


def tile(path, **options):
    """(28, 28) greys 0..255 of one picture, and what was said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        item = load_picture(path, **options)
    return 255 * item[0].double(), " ".join(str(warning.message) for warning in said)


def same_ramp(greys, atol=3):
    """Whether the greys go from black to white in even steps."""
    full = Image.fromarray((RAMP * 255).astype(np.uint8))
    expected = np.asarray(full.resize((28, 28), Image.Resampling.BILINEAR))
    return np.abs(greys.numpy() - expected).max() <= atol


# ---------------------------------------------------------------- deep pictures


DEEP = {
    "16 bits": (RAMP * 65535).astype("u2"),
    "14 bits in 16": (RAMP * 16383).astype("u2"),
    "12 bits in 16": (RAMP * 4095).astype("u2"),
    "10 bits in 16": (RAMP * 1023).astype("u2"),
    "8 bits in 16": (RAMP * 255).astype("u2"),
    "20 bits in 32": (RAMP * (2**20 - 1)).astype("i4"),
    "8 bits in 32": (RAMP * 255).astype("i4"),
    "12 bits in 32": (RAMP * 4095).astype("i4"),
    "32 bits with a sign": (RAMP * 6000 - 2000).astype("i4"),
    "16 bits with a sign": (RAMP * 6000 - 2000).astype("i2"),
    "8 bits with a sign": (RAMP * 255 - 128).astype("i1"),
    "32 bits without a sign": (RAMP * (2**32 - 1)).astype("u4"),
    "floats 0..1": RAMP.astype("f4"),
    "floats 0..255": (RAMP * 255).astype("f4"),
    "floats 0..65535": (RAMP * 65535).astype("f4"),
    "floats 0..0.01": (RAMP * 0.01).astype("f4"),
    "floats -1..1": (RAMP * 2 - 1).astype("f4"),
    "floats -5000..-1000": (RAMP * 4000 - 5000).astype("f4"),
    "large floats": (RAMP * 1e30).astype("f4"),
}


@pytest.mark.parametrize("name", DEEP)
def test_a_ramp_of_any_depth_stays_a_ramp(tmp_path, name):
    (tmp_path / "a.tif").write_bytes(tiff(DEEP[name]))
    greys, said = tile(tmp_path / "a.tif")
    assert same_ramp(greys)
    known = name in ("16 bits", "floats 0..1")
    assert ("deep pictures: greys of" in said) != known
    assert "as nearly one colour" not in said


@pytest.mark.parametrize("name", [name for name in DEEP if DEEP[name].dtype != np.uint32])
@pytest.mark.parametrize("packed", [False, True])
def test_a_ramp_in_the_other_order_of_bytes(tmp_path, name, packed):
    (tmp_path / "a.tif").write_bytes(tiff(DEEP[name], order=">", packed=packed))
    assert same_ramp(tile(tmp_path / "a.tif")[0])


@pytest.mark.parametrize("top", [65535, 4095, 255])
def test_sixteen_bit_png_files(tmp_path, top):
    deep = (RAMP * top).astype("u2")
    assert same_ramp(tile(save(tmp_path / "grey.png", deep))[0])
    colour = np.repeat(deep[..., None], 3, axis=2)
    (tmp_path / "colour.png").write_bytes(png16(colour))
    assert same_ramp(tile(tmp_path / "colour.png")[0])
    opaque = np.concatenate([colour, np.full((40, 40, 1), 65535, "u2")], axis=2)
    (tmp_path / "opaque.png").write_bytes(png16(opaque))
    assert same_ramp(tile(tmp_path / "opaque.png")[0])
    opaque[:20, :, 3] = 0  # the upper half is transparent: white
    (tmp_path / "half.png").write_bytes(png16(opaque))
    greys, _ = tile(tmp_path / "half.png")
    assert (greys[:13] == 255).all() and greys[-1, 0] < 9


def tiff16(pixels, packed, order, planes=1):
    """A TIFF file of 16 bits a channel, written by hand: (H, W, 3) or, with alpha, (H, W, 4)."""
    height, width, channels = pixels.shape
    numbers = pixels.astype(f"{order}u2").tobytes()
    numbers = zlib.compress(numbers) if packed else numbers
    tags = {256: width, 257: height, 258: 0, 259: 8 if packed else 1, 262: 2, 273: 0, 277: channels}
    tags |= {278: height, 279: len(numbers), 284: planes} | ({338: 2} if channels == 4 else {})
    tags[258] = 8 + 2 + 12 * len(tags) + 4  # where the bits of each channel are said
    tags[273] = tags[258] + 2 * channels
    directory = struct.pack(f"{order}H", len(tags)) + b"".join(
        struct.pack(f"{order}HHII", t, 3, channels, tags[t])
        if t == 258
        else struct.pack(f"{order}HHII", t, 4, 1, tags[t])
        for t in sorted(tags)
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    bits = struct.pack(f"{order}I{channels}H", 0, *[16] * channels)
    return head + directory + bits + numbers


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_colour_in_tiff_files(tmp_path, channels, packed, order):
    pixels = np.full((40, 40, channels), 65535, "u2")
    pixels[..., :3] = (RAMP * 4095)[..., None]
    (tmp_path / "a.tif").write_bytes(tiff16(pixels, packed, order))
    assert same_ramp(tile(tmp_path / "a.tif")[0])


@pytest.mark.parametrize("packed", [False, True])
def test_colours_in_separate_planes_are_refused(tmp_path, packed):
    pixels = np.repeat((RAMP * 65535).astype("u2")[..., None], 3, axis=2)
    (tmp_path / "a.tif").write_bytes(tiff16(pixels, packed, "<", planes=2))
    with pytest.raises(ValueError, match=r"in separate planes.*save the colours of a pixel togeth"):
        load_picture(tmp_path / "a.tif")


def test_separate_planes_of_grey_alone(tmp_path):
    deep = (RAMP * 65535).astype("u2")
    (tmp_path / "a.tif").write_bytes(tiff(deep, packed=True, planes=2))
    assert same_ramp(tile(tmp_path / "a.tif")[0])
    (tmp_path / "a.tif").write_bytes(tiff((255 - RAMP * 255).astype("u1"), 0, planes=2))
    with pytest.raises(ValueError, match="in separate planes"):  # Pillow would read a negative
        load_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("top", [65535, 4095])
def test_colour_of_sixteen_bits_in_ppm_files(tmp_path, top):
    pixels = np.repeat((RAMP * top).astype(">u2")[..., None], 3, axis=2)
    (tmp_path / "a.ppm").write_bytes(b"P6 40 40 65535\n" + pixels.tobytes())
    if top == 65535:
        assert same_ramp(tile(tmp_path / "a.ppm")[0])
        return
    with pytest.raises(ValueError, match="only the upper 8 can be read, and are all dark"):
        load_picture(tmp_path / "a.ppm")


@pytest.mark.parametrize(
    ("bits", "channels"), [(1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (8, 3), (16, 3)]
)
def test_the_value_that_is_called_transparent_is_white(tmp_path, bits, channels):
    top = 2**bits - 1
    values = np.array([0, top, top // 3]).repeat(10)[None].repeat(30, axis=0)  # three stripes
    values = np.minimum(values, top)
    numbers = values[..., None].repeat(channels, axis=2).reshape(30, -1)
    if bits < 8:
        rows = np.unpackbits(numbers.astype("u1")[..., None], axis=2)[..., -bits:]
        rows = np.packbits(rows.reshape(30, -1), axis=1)
    else:
        rows = np.frombuffer(numbers.astype(f">u{bits // 8}").tobytes(), "u1").reshape(30, -1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">IIBBBBB", 30, 30, bits, 0 if channels == 1 else 2, 0, 0, 0)
    for clear in {0, top // 3}:
        said = struct.pack(f">{channels}H", *[clear] * channels)
        (tmp_path / "a.png").write_bytes(png_of(IHDR=head, tRNS=said, IDAT=data, IEND=b""))
        expected = np.where(values == clear, 255, values * 255 // top)
        greys = 255 * load_picture(tmp_path / "a.png", size=30)[0]
        assert np.abs(greys.numpy() - expected).max() <= 1


def test_all_sixteen_bits_as_ever():
    """Each number is divided by 257, as it was before the greys were looked at."""
    from metalearn_edu.tasks.data.picture import _as_bytes

    numbers = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(_as_bytes(numbers, 0, 65535, False), numbers // 257)
    eight = np.arange(256, dtype=np.uint8)[None]
    assert np.array_equal(_as_bytes((eight / np.float32(255)), 0, 1, False), eight)


def test_grey_and_alpha_of_which_the_lower_bits_cannot_be_read(tmp_path):
    deep = np.stack([(RAMP * 4095), np.full((40, 40), 65535)], axis=2).astype("u2")
    (tmp_path / "a.png").write_bytes(png16(deep))
    with pytest.raises(ValueError, match="only the upper 8 can be read"):
        load_picture(tmp_path / "a.png")
    deep[..., 0] = RAMP * 65535
    (tmp_path / "a.png").write_bytes(png16(deep))
    assert same_ramp(tile(tmp_path / "a.png")[0])


def test_white_is_zero(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff((65535 * (1 - RAMP)).astype("u2"), photometry=0))
    assert same_ramp(tile(tmp_path / "a.tif")[0])


def test_not_a_number(tmp_path):
    some = RAMP.astype("f4")
    some[:4, :4], some[5, 5] = np.nan, np.inf
    (tmp_path / "some.tif").write_bytes(tiff(some))
    greys, said = tile(tmp_path / "some.tif")
    assert greys.max() > 240 and "NaN or infinite, taken as black" in said
    (tmp_path / "all.tif").write_bytes(tiff(np.full((40, 40), np.nan, "f4")))
    with pytest.raises(ValueError, match="it holds no numbers, only NaN"):
        load_picture(tmp_path / "all.tif")


@pytest.mark.parametrize("value", [0, 7, 40_000, -3])
def test_one_number_everywhere_is_said(tmp_path, value):
    (tmp_path / "a.tif").write_bytes(tiff(np.full((40, 40), value, "i4")))
    assert "as nearly one colour" in tile(tmp_path / "a.tif")[1]


def test_one_dead_pixel_that_hides_all_others_is_said(tmp_path):
    dead = (RAMP * 4095).astype("u2")
    dead[3, 3] = 65535
    (tmp_path / "a.tif").write_bytes(tiff(dead))
    assert "as nearly one colour" in tile(tmp_path / "a.tif")[1]


def test_one_scale_for_a_folder(tmp_path):
    """What is brighter in the files is brighter in the items, in every class."""
    for name, factor in {"a/1": 0.25, "a/2": 1.0, "b/1": 0.5}.items():
        save(tmp_path / f"{name}.png", np.full((30, 30), 4000 * factor, np.uint16))
    save(tmp_path / "b" / "2.png", Image.new("L", (30, 30), 100))
    with pytest.warns(UserWarning, match="deep pictures: greys of 0 to 4095 .* scaled to 0 to 255"):
        dataset, preparation = read_image_folder(tmp_path)
    assert dataset.items[:, 0, 0, 0].tolist() == [62, 249, 124, 100]
    assert preparation.greys == {"integers": (0, 4095)}


def test_given_greys_are_used_and_what_lies_outside_is_said(tmp_path):
    for name in ("a/1", "b/1"):
        save(tmp_path / f"{name}.png", (RAMP * 4095).astype("u2"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wide = load_image_folder(tmp_path, greys={"integers": (0, 8190)})
    assert 120 < wide.items.max() <= 128
    with pytest.warns(UserWarning, match="0 to 4095 are cut off at 0 and 1000"):
        load_image_folder(tmp_path, greys={"integers": (0, 1000)})


# ---------------------------------------------------------------- readers


@pytest.mark.parametrize(
    "suffix",
    [
        *("bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tga"),
        *("tif", "tiff", "webp", "avif", "jp2", "qoi"),
    ],
)
def test_formats_that_are_read(tmp_path, suffix):
    if f".{suffix}" not in IMAGE_SUFFIXES:
        pytest.skip(f"Pillow here reads no {suffix}")
    grey = Image.fromarray((RAMP * 255).astype(np.uint8))
    grey = grey.convert("1" if suffix == "pbm" else "RGB" if suffix in ("ppm", "qoi") else "L")
    save(tmp_path / f"a.{suffix}", grey)
    picture = tile(tmp_path / f"a.{suffix}")[0]
    assert picture[:, :5].mean() < 60 and picture[:, -5:].mean() > 190


def test_contents_decide_not_the_name(tmp_path):
    save(tmp_path / "really.jpg", (RAMP * 255).astype(np.uint8), format="PNG")
    assert same_ramp(tile(tmp_path / "really.jpg")[0])


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 30 30\n%%EndComments\nshowpage\n",
            "PostScr",
        ),
        (b"\xc5\xd0\xd3\xc6" + bytes(40), "PostScript"),
        (b"%PDF-1.4 ...", "PostScript or PDF, which is not read"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "pip install pillow-heif"),
        (b"", "it is empty"),
        (tiff(RAMP.astype("f8")), "a TIFF of a kind that is not read"),
        (b"no picture", "its contents are no picture"),
        (bytes(3000), "its contents are no picture"),
        (b"\x01\x00\x09\x00" + bytes(60), "its contents are no picture"),  # WMF
    ],
)
def test_no_other_reader_is_started(tmp_path, monkeypatch, contents, reason):
    import subprocess

    def refuse(*arguments, **options):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    for suffix in ("png", "jpg", "tif"):
        (tmp_path / f"x.{suffix}").write_bytes(contents)
        with pytest.raises(ValueError, match=reason):
            load_picture(tmp_path / f"x.{suffix}")


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes and sockets in folders")
def test_only_ordinary_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "folder.png").mkdir()
    for name, words in {
        "pipe": "not an ordinary file",
        "folder": "not an ordinary file",
        "loop": "symbolic links",
    }.items():
        with pytest.raises(ValueError, match=words):
            load_picture(tmp_path / f"{name}.png")
    with pytest.raises(FileNotFoundError, match="a link to nothing"):
        load_picture(tmp_path / "gone.png")
    with pytest.raises(FileNotFoundError, match="No such file"):
        load_picture(tmp_path / "never.png")


def test_the_first_of_several_pages_is_used_and_that_is_said(tmp_path):
    pages = [Image.new("L", (30, 30), grey) for grey in (200, 10)]
    for name in ("a.tif", "a.gif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        greys, said = tile(tmp_path / name)
        assert greys[5, 5].round() == 200 and "several pictures, the first is used" in said


def test_turned_deep_pictures(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # a quarter to the right
    image = Image.fromarray((RAMP * 4095).astype("u2"))
    image.save(tmp_path / "a.png", exif=exif)
    greys, _ = tile(tmp_path / "a.png")
    assert same_ramp(greys.T)


def test_a_picture_keeps_its_shape(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", np.zeros((30, 60), np.uint8)), (20, 10), 3)
    assert picture.tile.shape == (3, 20, 10) and (picture.width, picture.height) == (60, 30)


# ---------------------------------------------------------------- the same as in a data set


@pytest.mark.parametrize("ink", ["dark", "light", "auto", None])
@pytest.mark.parametrize(("size", "channels"), [(28, 1), ((20, 30), 3)])
def test_one_picture_is_prepared_as_in_a_folder(tmp_path, ink, size, channels):
    rng = np.random.default_rng(0)
    for k in range(3):
        ramp = np.linspace(0, 4000 - 900 * k, 50 * 40).reshape(50, 40)
        save(tmp_path / "a" / f"{k}.png", ramp.astype("u2"))
        save(tmp_path / "b" / f"{k}.jpg", rng.integers(90, 256, (60, 90, 3), dtype=np.uint8))
    with pytest.warns(UserWarning, match="deep pictures"):
        dataset, preparation = read_image_folder(tmp_path, size=size, channels=channels, ink=ink)
    again = Preparation(**json.loads(json.dumps(vars(preparation))))
    assert again == preparation and again.ink in ("dark", "light")
    assert dataset.item_shape == (channels, *again.size)
    for row, file in enumerate(dataset.files):
        alone = load_picture(file, **vars(again))
        assert torch.equal(alone, dataset.gather(torch.tensor([row]))[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # known greys are not said again
        assert load_image_folder(tmp_path, **vars(again)).digest == dataset.digest


def test_auto_is_told(tmp_path):
    paper = np.full((30, 30), 250, np.uint8)
    paper[10:20, 10:20] = 5
    for name in ("a/1", "b/1"):
        save(tmp_path / f"{name}.png", paper)
    dataset, preparation = read_image_folder(tmp_path, ink="auto")
    assert preparation == Preparation((28, 28), 1, "dark", {})
    assert load_picture(dataset.files[0], ink="auto")[0, 0, 0] < 0.1
    for name in ("a/1", "b/1"):
        save(tmp_path / f"{name}.png", 255 - paper)
    assert read_image_folder(tmp_path, ink="auto")[1].ink == "light"


NONSENSE = [
    *[{"size": s} for s in (0, -1, 2.5, float("nan"), True, "28", None, (28,), (28, 0), (1, 2, 3))],
    *[{"size": s} for s in (10**9, 10**30, (28, 5000), torch.tensor(2.5))],
    *[{"channels": c} for c in (0, 2, 4, True, "3", None, float("nan"))],
    *[{"ink": ink} for ink in ("blue", 1, ["dark"])],
    *[{"greys": g} for g in (3, {"integers": 5}, {"ints": (0, 1)}, {"floats": (1, 0)}, [1, 2])],
    {"greys": {"floats": (0, float("nan"))}},
    {"greys": {"floats": (0, float("inf"))}},
]


@pytest.mark.parametrize("arguments", NONSENSE, ids=str)
def test_nonsense_is_refused_in_one_line(tmp_path, arguments):
    for name in ("a/1", "b/1"):
        save(tmp_path / f"{name}.png", np.zeros((30, 30), np.uint8))
    (name,) = arguments
    for call in (load_image_folder, read_image_folder):
        with pytest.raises(ValueError, match=rf"^{name} .*") as error:
            call(tmp_path, **arguments)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=rf"^{name} .*"):
        load_picture(tmp_path / "a" / "1.png", **arguments)


def test_more_than_memory_holds_is_refused_before_reading(tmp_path, monkeypatch):
    from metalearn_edu.tasks.data import image_folder

    for name in ("a/1", "a/2", "b/1"):
        save(tmp_path / f"{name}.png", np.zeros((30, 30), np.uint8))
    monkeypatch.setattr(image_folder, "machine_bytes", lambda: 4096)
    monkeypatch.setattr(image_folder, "read_pictures", lambda *a, **k: pytest.fail("was read"))
    with pytest.raises(ValueError, match="size is too large: 3 pictures of 1 x 20 x 20 take"):
        load_image_folder(tmp_path, size=20)


def test_bytes_of_a_bomb_are_not_decoded(tmp_path):
    image = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(image, "PNG")
    (tmp_path / "bomb.png").write_bytes(image.getvalue())
    with pytest.raises(ValueError, match="pixels"):
        load_picture(tmp_path / "bomb.png")
