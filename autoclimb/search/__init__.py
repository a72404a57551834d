"""The choice of the next trials. No torch here, so that the controller is tested in milliseconds."""
