from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from db1_model.config import ModelConfig
from db1_model.positions import cut_interval


class Patches(NamedTuple):
    """Image patches in the order of their places in the tokens.

    Args:
        pixels: uint8 or float in 0..255, shape (patches, 3, size, size).
        rows: Interval ``[low, high)`` of each patch's row position, int64 of shape (patches, 2).
        columns: Interval ``[low, high)`` of each patch's column position, int64 of shape (patches, 2).
    """

    pixels: Tensor
    rows: Tensor
    columns: Tensor


class PatchEmbedding(nn.Module):
    """Embed image patches, each by itself, with its row and column position in the image.

    Args:
        config: ``patch_size``, ``patch_channels``, ``position_vocab``, ``pixels`` and ``width`` are read.

    Source:
        Reed et al., "A generalist agent", 2022, appendix C.2 (the ResNet block and the position intervals); DB1 divides
        the pixels by the square root of the patch size as Gato does, after standardising each patch and channel.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels = config.patch_channels
        groups = min(32, channels)
        self.pixels = config.pixels
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.residual = nn.Sequential(
            nn.GroupNorm(groups, channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(groups, channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.projection = nn.Conv2d(channels, config.width, config.patch_size)
        self.row_embedding = nn.Embedding(config.position_vocab, config.width)
        self.column_embedding = nn.Embedding(config.position_vocab, config.width)

    def initialise(self, features: Tensor) -> None:
        """Write smooth embeddings of rows and columns, each in directions of its own.

        They are about as large as what two different patches differ by, so that places are seen from the start.

        Args:
            features: Of the positions in an image, shape (``position_vocab``, at most half of the width).
        """
        features = features - features.mean(0)
        features = features * (0.28 / features.std())
        directions = torch.linalg.qr(torch.randn(2 * [self.row_embedding.embedding_dim])).Q
        with torch.no_grad():
            for table, some in zip((self.row_embedding, self.column_embedding), directions.chunk(2), strict=True):
                table.weight.copy_(features @ some[: features.shape[1]])

    def forward(self, patches: Patches) -> Tensor:
        """Return the embeddings of the patches, shape (patches, width).

        While training, a position is drawn uniformly from its interval; otherwise it is the interval's middle. On a CPU
        equal patches are convolved once: rooms, boards and most games are made of few tiles.
        """
        pixels, place = patches.pixels, None
        if pixels.device.type == "cpu" and pixels.dtype == torch.uint8:
            pixels, place = pixels.unique(dim=0, return_inverse=True)
        x = scale_pixels(pixels, self.pixels).to(self.stem.weight.dtype)  # (patches, 3, size, size)
        x = self.stem(x)
        x = self.projection(x + self.residual(x)).flatten(1)  # (patches, width)
        x = x if place is None else x[place]
        rows = self.row_embedding(choose_positions(patches.rows, draw=self.training))
        columns = self.column_embedding(choose_positions(patches.columns, draw=self.training))
        return x + rows + columns


def scale_pixels(pixels: Tensor, kind: str) -> Tensor:
    """Scale the pixels of patches before the first convolution.

    Args:
        pixels: Values in 0..255, shape (patches, 3, size, size).
        kind: ``gato`` for [-1, 1] over the root of the size; ``standardised`` for zero mean and unit deviation of each
            patch and channel over the same root.

    Returns:
        float32 of the same shape.
    """
    x = pixels.float()
    root = pixels.shape[-1] ** 0.5
    if kind == "gato":
        return (x / 127.5 - 1) / root
    deviation, mean = torch.std_mean(x, dim=(-2, -1), keepdim=True)
    return (x - mean) / (1e-6 + deviation) / root


def choose_positions(intervals: Tensor, *, draw: bool) -> Tensor:
    """Return a position of every interval ``[low, high)``: drawn uniformly, or the middle.

    Args:
        intervals: int64 of shape (patches, 2).
        draw: Whether to draw, from torch's global generator.
    """
    low, high = intervals.unbind(-1)
    if not draw:
        return (low + high) // 2
    return low + (torch.rand(low.shape, device=low.device) * (high - low)).long()


def cut_patches(images: Tensor, config: ModelConfig) -> Patches:
    """Cut images of one size into patches: image by image, row by row.

    Args:
        images: Values in 0..255, shape (images, 3, height, width), or uint8 of shape (images, height, width, 3).
        config: ``patch_size`` and ``position_vocab`` are read.

    Raises:
        ValueError: If height or width are no multiple of the patch size.
    """
    if images.dtype == torch.uint8 and images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2)
    size = config.patch_size
    count, _, height, width = images.shape
    if height % size or width % size:
        raise ValueError(f"an image of {height} x {width} pixels; expected multiples of the patch size, {size}")
    rows, columns = height // size, width // size
    cut = images.reshape(count, 3, rows, size, columns, size).permute(0, 2, 4, 1, 3, 5)
    row = torch.from_numpy(cut_interval(rows, config.position_vocab)).repeat_interleave(columns, 0)
    column = torch.from_numpy(cut_interval(columns, config.position_vocab)).repeat(rows, 1)
    return Patches(
        cut.reshape(-1, 3, size, size),
        row.repeat(count, 1).to(images.device),
        column.repeat(count, 1).to(images.device),
    )
