"""What a block does to the state: a pure function of the state, the block and the chain's rules."""
