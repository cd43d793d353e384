"""What a run will show, take and cost, before it runs."""
