from __future__ import annotations

import torch

from db1_model.config import ModelConfig
from db1_model.images import PatchEmbedding, Patches


def test_patches_that_are_alike_are_embedded_as_each_would_be(config: ModelConfig) -> None:
    torch.manual_seed(0)
    tiles = torch.randint(0, 256, (3, 3, config.patch_size, config.patch_size), dtype=torch.uint8)
    places = torch.tensor([[0, 4], [4, 8], [8, 12], [12, 16], [0, 4], [4, 8]])
    patches = Patches(tiles[[2, 0, 0, 1, 2, 0]], places, places.flip(0))
    embedding = PatchEmbedding(config).eval()

    def embed(pixels: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        embedding.zero_grad()
        found = embedding(patches._replace(pixels=pixels))
        found.square().sum().backward()
        return found, [parameter.grad.clone() for parameter in embedding.parameters() if parameter.grad is not None]

    (found, gradients), (expected, wanted) = embed(patches.pixels), embed(patches.pixels.float())

    torch.testing.assert_close(found, expected)
    assert len(gradients) == len(wanted) == len(list(embedding.parameters()))
    for gradient, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-4)
