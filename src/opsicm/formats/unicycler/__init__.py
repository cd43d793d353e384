"""A cycler's protocol (aurora-unicycler JSON), read into an experiment and written from one."""
