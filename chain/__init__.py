"""What a block does: types, codec, state, storage, execution and mempool."""
