"""A page in the browser to watch a run and to steer it; it shows the report's figures of what is recorded so far."""
