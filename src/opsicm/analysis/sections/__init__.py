"""XZ sections and images from the raw samples of hops."""
