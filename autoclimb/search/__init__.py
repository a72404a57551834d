"""What to try next. No torch here, so that the controller is tested in milliseconds."""
