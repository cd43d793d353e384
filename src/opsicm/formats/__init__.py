"""Third-party files, in and out: one module a format; identify.py chooses the reader."""
