"""The paper's experiments on the twin, analysed as a user's runs are, beside the numbers that the paper prints."""
