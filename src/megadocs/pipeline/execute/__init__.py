"""Where and when steps run: the scheduler, and the executors that it hands steps to."""
