"""The models that this version of the client brings along, as execution wants to know them."""

from functools import cache

from chain.execution.models import Model, ModelRegistry
from genesis.commons import commons, commons_model
from genesis.digits import load_model
from genesis.document import GenesisDocument, GenesisError
from pouw.models.mlp import mlp_program
from pouw.training.commons import PIXEL_MAX


@cache
def digits_model() -> Model:
    """Handwritten digits, 64 pixels from 0 to 16 a row, one class from 0 to 9 as answer."""
    manifest = load_model().manifest
    return Model(
        model_id=manifest.digest,
        name=manifest.name,
        build=lambda rows: mlp_program(manifest, rows),
        input_low=0,
        input_high=PIXEL_MAX,
    )


def registry_of(document: GenesisDocument) -> ModelRegistry:
    """The models of a chain.

    Raises:
        GenesisError: The document names a model that this version does not bring along, or trains another.
    """
    batch = document.params.commons_batch
    known = {model.id: model for model in (digits_model(), commons_model(batch))}
    for model in document.models:
        if model not in known:
            raise GenesisError(f"models: this version has no model {model.hex()}")
    if document.commons_model != commons(batch).id:
        raise GenesisError(
            f"commons_model: this version trains {commons(batch).id.hex()} with shards of {batch}, not "
            f"{document.commons_model.hex()}"
        )
    return ModelRegistry(models={model: known[model] for model in document.models}, commons=commons(batch))
