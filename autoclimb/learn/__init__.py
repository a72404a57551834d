"""From a Config to a Trial: the only room that knows torch. loop.py is the training loop."""
