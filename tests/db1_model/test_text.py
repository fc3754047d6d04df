from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.normalizers import Lowercase

from db1_model.pieces import divides_as_gpt2
from db1_model.text import END_OF_TEXT, TextTokenizer
from db1_model.vocabulary import Vocabulary

SENTENCES = [f"go to the {colour} {thing}" for colour in ("red", "grey", "blue") for thing in ("ball", "box", "key")]
TOKENIZER = TextTokenizer.train(SENTENCES, 1024)


@settings(max_examples=50)
@given(st.text())
def test_any_text_comes_back_unchanged(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@settings(max_examples=300)
@given(st.text(st.sampled_from("aZ09 '.,\n\t\r\x0b\x1c\x1f\x00\x85\xa0\u2003\u3000éж中\u180e😀²½\u0301\u200bsdmtlrve")))
def test_pieces_have_the_tokens_of_the_whole(text: str) -> None:
    assert divides_as_gpt2(TOKENIZER._tokenizer)
    assert TOKENIZER.encode(text) == TOKENIZER._tokenizer.encode(text).ids


def test_a_tokenizer_that_divides_otherwise_is_asked_itself() -> None:
    other = Tokenizer.from_str(TOKENIZER._tokenizer.to_str())
    other.normalizer = Lowercase()
    text = TextTokenizer(other)

    assert not divides_as_gpt2(other)
    assert text.encode("RED ball") == TOKENIZER.encode("red ball")


def test_a_text_that_spells_the_end_of_text_is_text() -> None:
    tokens = TOKENIZER.encode(END_OF_TEXT)

    assert 0 not in tokens
    assert TOKENIZER.decode(tokens) == END_OF_TEXT


def test_every_word_of_the_training_sentences_is_one_token() -> None:
    assert [len(TOKENIZER.encode(sentence)) for sentence in SENTENCES] == [5] * len(SENTENCES)
    assert TOKENIZER.size < 1024


def test_the_order_of_the_sentences_does_not_matter() -> None:
    assert TextTokenizer.train(reversed(SENTENCES), 1024).digest == TOKENIZER.digest
    assert TextTokenizer.train(SENTENCES[:-1], 1024).digest != TOKENIZER.digest


def test_no_more_tokens_come_out_than_asked_for() -> None:
    assert TextTokenizer.train(SENTENCES, 260).size == 260
    assert TextTokenizer.train([], 1024).size == 257
    with pytest.raises(ValueError, match="at least 257"):
        TextTokenizer.train(SENTENCES, 256)


def test_a_saved_tokenizer_is_the_same_when_loaded(tmp_path: Path) -> None:
    file = TOKENIZER.save(tmp_path)

    for path in (tmp_path, file):
        loaded = TextTokenizer.load(path)
        assert loaded.digest == TOKENIZER.digest
        assert loaded.encode(SENTENCES[0]) == TOKENIZER.encode(SENTENCES[0])


def test_a_published_vocabulary_and_its_merges_load_as_they_are(tmp_path: Path) -> None:
    model = json.loads(TOKENIZER.save(tmp_path / "ours").read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in model["merges"]))

    loaded = TextTokenizer.load(tmp_path)

    assert loaded.digest == TOKENIZER.digest
    assert loaded.encode("go to the grey key") == TOKENIZER.encode("go to the grey key")


def test_a_missing_tokenizer_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="db1 make tokens"):
        TextTokenizer.load(tmp_path)


def test_a_tokenizer_without_the_end_of_text_as_token_0_is_refused(tmp_path: Path) -> None:
    other = Tokenizer.from_file(str(TOKENIZER.save(tmp_path)))
    content = json.loads(other.to_str())
    content["added_tokens"][0]["id"] = 5
    content["model"]["vocab"] = {
        token: (id_ + 5) % 257 for token, id_ in content["model"]["vocab"].items() if id_ < 257
    }
    content["model"]["merges"] = []

    with pytest.raises(ValueError, match="expected 0"):
        TextTokenizer(Tokenizer.from_str(json.dumps(content)))


def test_a_vocabulary_puts_text_before_bins_before_the_separator() -> None:
    vocabulary = Vocabulary(32_000)

    assert (vocabulary.bin_start, vocabulary.separator, vocabulary.size) == (32_000, 33_024, 33_025)
    assert vocabulary.digest != Vocabulary(32_000, tokenizer_digest="another").digest
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


@pytest.mark.parametrize(("text_size", "message"), [(1023, "overlap"), (65_000, "uint16")])
def test_a_vocabulary_whose_ids_collide_or_do_not_fit_is_refused(text_size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary(text_size)
