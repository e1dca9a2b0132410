"""Makes the small images beside this file. Needs Pillow."""

from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent


def two_by_one(mode="RGB"):
    """Left half one colour, right half another, 16 x 8 so that JPEG blocks do not mix them."""
    image = Image.new("RGB", (16, 8), (200, 30, 40))
    image.paste((20, 60, 220), (8, 0, 16, 8))
    return image.convert(mode)


two_by_one("CMYK").save(HERE / "cmyk.jpg", quality=95)
exif = Image.Exif()
exif[0x0112] = 6  # turn clockwise by a quarter to view
two_by_one().save(HERE / "turned.jpg", quality=95, exif=exif)
two_by_one().save(HERE / "plain.jpg", quality=95)
two_by_one("L").save(HERE / "grey.jpg", quality=95)
two_by_one().save(HERE / "progressive.jpg", quality=95, progressive=True)
mirrored = two_by_one().transpose(Image.FLIP_LEFT_RIGHT)
for name in ("animated.webp", "animated.png", "animated.gif"):
    two_by_one().save(HERE / name, save_all=True, append_images=[mirrored], duration=100, lossless=True)
two_by_one().save(HERE / "pages.tif", save_all=True, append_images=[mirrored])
