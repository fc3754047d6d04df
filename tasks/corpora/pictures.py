from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

MOST_PIXELS = 100_000_000
"""A picture with more is taken for a decompression bomb."""


def read_picture(
    file: Path | BinaryIO, shape: tuple[int, int, int], *, name: str = ""
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Read a picture, and scale it to what a task shows.

    Args:
        file: A file that Pillow can read, such as PNG, JPEG or WebP.
        shape: Height, width and 3 of the task's images.
        name: What messages call it; its path if it has one.

    Returns:
        The image, uint8 of that shape, and the height and width of the file's.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no picture, cut off or too large; names the file.
    """
    name = name or str(file)
    try:
        with Image.open(file) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                raise ValueError(f"{name}: {width} x {height} pixels; expected at most {MOST_PIXELS:,}")
            image = picture.convert("RGB")
    except UnidentifiedImageError:
        raise ValueError(f"{name}: not a picture that Pillow knows; expected PNG, JPEG, WebP or the like") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{name}: the picture is damaged ({error}); expected a whole file") from None
    if (height, width) != shape[:2]:
        image = image.resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.asarray(image, np.uint8), (height, width)
