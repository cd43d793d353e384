"""The paper's experiments on the twin, analysed by a user's code, beside what the paper prints."""
