"""Many prompts at once: strategies run on them, scored and compared."""
