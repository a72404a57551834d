"""From the files of a folder to a Task."""
