"""Model folders made with the `transformers` library, as others make theirs."""

import pydoc_data.topics
import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    # The library and what it loads deprecate each other's names while they are imported.
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers", reason="compares with the transformers library")
tokenizers = pytest.importorskip("tokenizers")


def sample() -> str:
    """Text that every Python brings along."""
    topics = pydoc_data.topics.topics
    return "\n".join(topics[key] for key in sorted(topics))


def decoder(folder: Path, *, train: int = 0, vocabulary: int = 300, **changes: Any) -> Any:
    """A small Llama with its tokenizer, random or trained for some steps, saved to a folder."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        **{
            "vocab_size": vocabulary, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
            "rope_theta": 50000.0, "initializer_range": 0.1, "tie_word_embeddings": False,
            "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None,
        }
        | changes
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    tokenizer = byte_pairs(vocabulary)
    model.eval().save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return model


def encoder(folder: Path, *, vocabulary: int = 300, outliers: bool = True, **changes: Any) -> Any:
    """A small BERT with its tokenizer, random, with the outliers that trained ones have."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        **{
            "vocab_size": vocabulary, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3,
            "num_attention_heads": 4, "max_position_embeddings": 128, "initializer_range": 0.1,
        }
        | changes
    )  # fmt: skip
    model = transformers.BertModel(config).eval()
    if outliers:
        disturb(model)
    model.save_pretrained(folder)
    word_pieces(vocabulary).save(str(folder / "tokenizer.json"))
    return model


def disturb(model: Any) -> None:
    """A few channels far beyond the rest, as trained encoders have them, and biases that are not 0."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("bias"):
                value += 0.1 * torch.randn_like(value)
            if name.endswith("LayerNorm.bias"):
                value[3] += 8
                value[17] -= 6
            if name.endswith("LayerNorm.weight"):
                value += 0.2 * torch.randn_like(value)
                value[11] *= 6


def byte_pairs(vocabulary: int) -> Any:
    """A byte-level BPE like that of decoders."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<s>", "</s>"], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    made.train_from_iterator([sample()], trainer)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return made


def word_pieces(vocabulary: int) -> Any:
    """A WordPiece like that of encoders."""
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.decoder = tokenizers.decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=vocabulary, special_tokens=special, show_progress=False
    )
    made.train_from_iterator([sample()[:200_000]], trainer)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made
