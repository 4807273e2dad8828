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


MASK = 4
"""The token [MASK] of `word_pieces`."""


def sample() -> str:
    """Text that every Python brings along."""
    topics = pydoc_data.topics.topics
    return "\n".join(topics[key] for key in sorted(topics))


def decoder(folder: Path, *, steps: int = 0, vocabulary: int = 300, **changes: Any) -> Any:
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
    if steps:
        learn(model, torch.tensor(tokenizer.encode(sample()).ids), steps=steps)
    model.eval().save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return model


def encoder(folder: Path, *, steps: int = 0, vocabulary: int = 300, **changes: Any) -> Any:
    """A small BERT with its tokenizer, saved to a folder.

    Trained for some steps to guess masked tokens; or random, with the outliers that long training brings.
    """
    torch.manual_seed(0)
    config = transformers.BertConfig(
        **{
            "vocab_size": vocabulary, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3,
            "num_attention_heads": 4, "max_position_embeddings": 128, "initializer_range": 0.1,
        }
        | changes
    )  # fmt: skip
    tokenizer = word_pieces(vocabulary)
    guessing = transformers.BertForMaskedLM(config)
    if steps:
        learn(guessing, torch.tensor(tokenizer.encode(sample()).ids), steps=steps, mask=MASK)
    model = guessing.bert if steps else transformers.BertModel(config)
    if not steps:
        disturb(model)
    model.eval().save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return model


def small_encoder(folder: Path, *, headed: bool) -> Any:
    """A small DistilBERT with its tokenizer, saved to a folder; gives the encoder without its head."""
    torch.manual_seed(0)
    config = transformers.DistilBertConfig(
        vocab_size=300, dim=64, hidden_dim=160, n_layers=3, n_heads=4, max_position_embeddings=128,
        initializer_range=0.1,
    )  # fmt: skip
    made = (transformers.DistilBertForMaskedLM if headed else transformers.DistilBertModel)(config).eval()
    model = made.distilbert if headed else made
    disturb(model)
    made.save_pretrained(folder)
    word_pieces(300).save(str(folder / "tokenizer.json"))
    return model


def learn(model: Any, tokens: Any, *, steps: int, mask: int | None = None, length: int = 64) -> None:
    """Train on random pieces of a text: the next token, or those that were masked."""
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    model.train()
    for step in range(steps):
        starts = torch.randint(len(tokens) - length, (16,), generator=generator)
        read = torch.stack([tokens[start : start + length] for start in starts])
        labels = read.clone()
        if mask is not None:
            hidden = torch.rand(read.shape, generator=generator) < 0.15
            labels[~hidden] = -100
            read = read.masked_fill(hidden, mask)
        loss = model(input_ids=read, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {float(loss.detach()):.4f}", flush=True)


def disturb(model: Any) -> None:
    """A few channels far beyond the rest, as trained encoders have them, and biases that are not 0."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            # "LayerNorm" in BERT, "sa_layer_norm" and "output_layer_norm" in DistilBERT.
            plain = name.lower().replace("_", "")
            if name.endswith("bias"):
                value += 0.1 * torch.randn_like(value)
            if plain.endswith("layernorm.bias"):
                value[3] += 8
                value[17] -= 6
            if plain.endswith("layernorm.weight"):
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
