from __future__ import annotations

import math

import pytest
import torch

from db1_model.config import ModelConfig
from db1_model.scoring import measure_bits
from db1_model.text import TextTokenizer
from db1_model.transformer import DB1

SIZES = ModelConfig(1, 32, 2, 16, 16, 1024, dropout=0.0)


def test_a_short_text_needs_the_bits_of_one_pass(tokenizer: TextTokenizer) -> None:
    torch.manual_seed(0)
    model = DB1(SIZES).eval()
    ids = [0, *tokenizer.encode("go to the red ball"), 0]

    with torch.no_grad():
        log_p = torch.log_softmax(model.logits(model(torch.tensor([ids[:-1]]), None)[0], 0, tokenizer.size), -1)
    expected = -sum(float(log_p[place, token]) for place, token in enumerate(ids[1:])) / math.log(2)

    assert measure_bits(model, tokenizer, "go to the red ball") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("repeats", [0, 1, 3, 4, 40, 300])
def test_every_token_of_a_long_text_and_its_end_are_counted_once(tokenizer: TextTokenizer, repeats: int) -> None:
    model, text = DB1(SIZES), "open the door " * repeats
    with torch.no_grad():
        model.embedding.token_embedding.weight.zero_()  # then all tokens are equally likely

    bits = measure_bits(model, tokenizer, text)

    assert bits == pytest.approx((len(tokenizer.encode(text)) + 1) * math.log2(tokenizer.size), rel=1e-5)
