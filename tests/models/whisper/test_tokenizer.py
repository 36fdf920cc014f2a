"""A processor made of openai-whisper's vocabulary is the released one."""

from __future__ import annotations

import pytest

from audiosae_steer import ModelError, load_processor
from audiosae_steer.models.whisper.tokenizer import processor_for

TEXTS = (
    "We walked along the river until the sun went down.",
    " 3.14 isn't $2,000 -- it's 'quoted'\n\n  and\tspaced   out",
    "Łódź, 東京, Ελλάδα, नमस्ते, 👩‍🚀 naïve café",
)


def test_it_writes_and_reads_as_the_released_one():
    own, released = processor_for(51864, 80).tokenizer, load_processor("tiny.en").tokenizer
    for text in TEXTS:
        ids = released(text, add_special_tokens=False).input_ids
        assert own(text, add_special_tokens=False).input_ids == ids
        assert own.decode(ids) == released.decode(ids)
    for token in ("<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>", "<|transcribe|>"):
        assert own.convert_tokens_to_ids(token) == released.convert_tokens_to_ids(token)


@pytest.mark.parametrize(("vocabulary", "mels", "first"), [(51864, 80, 50363), (51865, 80, 50364), (51866, 128, 50365)])
def test_every_released_size(vocabulary, mels, first):
    processor = processor_for(vocabulary, mels)
    assert len(processor.tokenizer) == vocabulary
    assert processor.tokenizer.convert_tokens_to_ids("<|0.00|>") == first
    assert processor.tokenizer.convert_tokens_to_ids("<|30.00|>") == first + 1500 == vocabulary - 1
    assert processor.feature_extractor.feature_size == mels
    assert processor.tokenizer.eos_token == "<|endoftext|>"
    decoded = processor.tokenizer.decode([processor.tokenizer.eos_token_id, first], skip_special_tokens=True)
    assert decoded == ""


def test_other_sizes_are_refused():
    with pytest.raises(ModelError, match=r"a vocabulary of 51900 .*; pass the model's own processor"):
        processor_for(51900, 80)
