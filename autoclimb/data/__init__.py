"""A folder as downloaded becomes a Task, folds and uint8 pixels."""
