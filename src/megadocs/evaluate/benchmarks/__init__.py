"""Zero-shot multiple choice, with the prompts and the metrics of lm-evaluation-harness."""
