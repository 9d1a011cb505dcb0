"""What is recorded in a project's audit log, and where the log's head is kept so that a changed log shows."""
