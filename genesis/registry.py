"""The models that this version of the client brings along, as execution wants to know them."""

from functools import cache

from chain.execution.models import Model, ModelRegistry
from genesis.digits import load_digits, load_model
from genesis.document import GenesisDocument, GenesisError
from pouw.commons import commons_row
from pouw.mlp import mlp_program
from pouw.tensors import Array

_PIXEL_HIGH = 16


@cache
def digits_model() -> Model:
    """Handwritten digits, 64 pixels from 0 to 16 a row, one class from 0 to 9 as answer."""
    manifest = load_model().manifest
    return Model(
        model_id=manifest.digest,
        name=manifest.name,
        build=lambda rows: mlp_program(manifest, rows),
        input_low=0,
        input_high=_PIXEL_HIGH,
    )


def registry_of(document: GenesisDocument) -> ModelRegistry:
    """The models of a chain.

    Raises:
        GenesisError: The document names a model that this version does not bring along.
    """
    known = {model.id: model for model in (digits_model(),)}
    for model in document.models:
        if model not in known:
            raise GenesisError(f"models: this version has no model {model.hex()}")
    images = load_digits().images

    def row_of(seed: bytes, index: int, row: int) -> Array:
        return commons_row(images, seed=seed, index=index, row=row)

    return ModelRegistry(
        models={model: known[model] for model in document.models},
        commons_model=document.commons_model,
        commons_batch=document.params.commons_batch,
        commons_row=row_of,
    )
