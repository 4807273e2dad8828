"""The float32 twin of `pouw.training.transformer_training`: the same model, start, rates and optimiser."""

import torch

from pouw.models.llama import layer_weight
from pouw.tensors import Array
from pouw.training.transformer_training import (
    BASE,
    FADE,
    MASTER,
    MOMENTUM_DECAY,
    MOMENTUM_WEIGHT,
    TransformerTraining,
    master_name,
    matrices,
)
from pouw.weights import Weights

EPSILON = 2.0**-17


class FloatTraining:
    """Takes the same steps with torch's own gradients.

    Args:
        training: the run.
        weights: of the checkpoint that it starts from.
    """

    def __init__(self, training: TransformerTraining, weights: Weights) -> None:
        self.training = training
        self.masters = {
            name: torch.from_numpy(weights.array(master_name(name)) / 2.0**MASTER).to(torch.float32)
            for name in matrices(training.shape)
        }
        for master in self.masters.values():
            master.requires_grad_()
        self.means = {name: torch.zeros_like(master) for name, master in self.masters.items()}
        middle = training.shape.head_dim // 2
        angles = torch.arange(training.tokens)[:, None] * BASE ** (-torch.arange(middle) / middle)
        self._cos, self._sin = angles.cos(), angles.sin()
        self._later = torch.ones(training.tokens, training.tokens, dtype=torch.bool).triu(1)

    def step(self, tokens: Array, step: int) -> float:
        """One step; gives the mean loss before it, in nats."""
        total = self.losses(tokens).sum()
        slopes = torch.autograd.grad(total, list(self.masters.values()))
        rate = self.training.rate_at(step) / 2.0**MASTER
        with torch.no_grad():
            for (name, master), slope in zip(self.masters.items(), slopes, strict=True):
                mean = self.means[name]
                master -= rate * (torch.sign(MOMENTUM_WEIGHT * mean + slope) + master / 2**FADE)
                mean += (slope - mean) / 2**MOMENTUM_DECAY
        return float(total.detach()) / (len(tokens) // self.training.tokens * (self.training.tokens - 1))

    def gradients(self, tokens: Array) -> dict[str, torch.Tensor]:
        """The slopes of the summed loss."""
        slopes = torch.autograd.grad(self.losses(tokens).sum(), list(self.masters.values()))
        return dict(zip(self.masters, slopes, strict=True))

    def losses(self, tokens: Array) -> torch.Tensor:
        """The loss of every token but each text's last, [sequences, tokens - 1]."""
        texts = torch.from_numpy(tokens.reshape(-1, self.training.tokens)).to(torch.int64)
        logits = self.logits(texts)[:, :-1]
        flat = torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), texts[:, 1:].reshape(-1), reduction="none"
        )
        return flat.view(len(texts), -1)

    def logits(self, texts: torch.Tensor) -> torch.Tensor:
        """Logits of tokens [sequences, tokens]."""
        x = self.masters["embedding"][texts]
        for layer in range(self.training.shape.layers):
            x = self._feed(layer, self._attend(layer, x))
        return _norm(x) @ self.masters["head"].t()

    def _attend(self, layer: int, x: torch.Tensor) -> torch.Tensor:
        shape, a = self.training.shape, _norm(x)
        q, k, v = (
            (a @ self.masters[layer_weight(layer, part)].t())
            .view(*x.shape[:2], shape.heads, shape.head_dim)
            .transpose(1, 2)
            for part in "qkv"
        )
        scores = self._turn(q) @ self._turn(k).transpose(2, 3) / shape.head_dim**0.5
        mix = scores.masked_fill(self._later, -1e9).softmax(-1) @ v
        flat = mix.transpose(1, 2).reshape(*x.shape[:2], -1)
        return x + flat @ self.masters[layer_weight(layer, "o")].t()

    def _feed(self, layer: int, y: torch.Tensor) -> torch.Tensor:
        b = _norm(y)
        gate, up, down = (self.masters[layer_weight(layer, part)] for part in ("gate", "up", "down"))
        return y + (torch.nn.functional.silu(b @ gate.t()) * (b @ up.t())) @ down.t()

    def _turn(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, dim=-1)
        cos, sin = self._cos, self._sin
        return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def _norm(x: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON)
