"""Words for what did happen: facts, sample blocks, hop records and channels."""
