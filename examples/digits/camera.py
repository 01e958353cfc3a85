"""The camera of the digits example: takes pictures of scikit-learn's handwritten digits and writes them as PNG files.

After :func:`degrade` the same camera is out of focus, noisy and wired the wrong way round: black is white.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits

FIRST_PICTURE = datetime(2026, 1, 5, 8, tzinfo=UTC)
SIDE = 32  # pixels; the originals are 8 x 8 with 17 grey levels


class Camera:
    """Takes the pictures of the 1,797 digits in a seeded order.

    A picture is named by its number; its label becomes known later, in a label file.
    """

    def __init__(self, seed: int = 0) -> None:
        digits = load_digits()
        order = np.random.default_rng(seed).permutation(len(digits.target))
        self._pixels = digits.images[order]
        self._labels = digits.target[order]
        self._seed = seed

    def __len__(self) -> int:
        return len(self._labels)

    def label(self, number: int) -> int:
        """Return the digit that a picture shows."""
        return int(self._labels[number])

    def name(self, number: int) -> str:
        """Return a picture's file name."""
        return f"digit-{number:05d}.png"

    def taken_at(self, number: int) -> datetime:
        """Return when a picture was taken: one a minute."""
        return FIRST_PICTURE + timedelta(minutes=number)

    def picture(self, number: int, *, degraded: bool = False) -> bytes:
        """Return a picture as PNG bytes."""
        grey = np.round(self._pixels[number] * (255 / 16)).astype(np.uint8)
        image = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        if degraded:
            image = degrade(image, np.random.default_rng([self._seed, number]))
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        return buffer.getvalue()


def degrade(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Blur, invert, and add noise with a standard deviation of 18 of 255 grey levels."""
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(2.0)), dtype=np.float64)
    noisy = 255 - blurred + random.normal(0, 18, blurred.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def write_pictures(camera: Camera, folder: Path, numbers: range, *, degraded: bool = False) -> None:
    """Write pictures as PNG files under ``folder/images``."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (images / camera.name(number)).write_bytes(camera.picture(number, degraded=degraded))


def write_labels(camera: Camera, folder: Path, numbers: range) -> Path:
    """Write what the pictures show to a new label file and return its path."""
    path = folder / f"labels-{numbers.start:05d}-{numbers.stop:05d}.csv"
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "taken_at"])
        writer.writerows(
            [camera.name(number), camera.label(number), camera.taken_at(number).isoformat()] for number in numbers
        )
    partial.rename(path)
    return path


def write_faulty(camera: Camera, folder: Path, *, first: int) -> int:
    """Add what real folders hold: files that are no pictures, one cut short, and labels that no digit has.

    Returns:
        How many pictures are faulty; none of them may reach a training.
    """
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    whole = camera.picture(0)
    contents = {
        "empty": (b"", 3),
        "text": (b"this is not a picture", 5),
        "cut": (whole[: len(whole) // 2], 1),
        "eleven": (camera.picture(1), 11),
        "minus": (camera.picture(2), -1),
    }
    rows = []
    for offset, (name, (content, label)) in enumerate(contents.items()):
        file = f"faulty-{name}.png"
        (images / file).write_bytes(content)
        rows.append([file, label, (FIRST_PICTURE + timedelta(minutes=first + offset)).isoformat()])
    with (folder / "labels-faulty.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "taken_at"])
        writer.writerows(rows)
    return len(rows)


def main() -> None:
    """Write the pictures that the example starts with into ``data/`` beside this file."""
    folder = Path(__file__).parent / "data"
    camera = Camera()
    first = range(1000)
    write_pictures(camera, folder, first)
    write_labels(camera, folder, first)
    faulty = write_faulty(camera, folder, first=0)
    print(f"{len(first)} pictures with labels and {faulty} faulty ones in {folder}")


if __name__ == "__main__":
    main()
