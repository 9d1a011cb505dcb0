"""What each verb of the command does, one module per verb that needs more than a call."""
