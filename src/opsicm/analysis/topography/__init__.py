"""Images of height: levelling, roughness, steps, registration, flakes."""
