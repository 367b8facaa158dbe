"""What runs behind the API: the relay, the execution of tasks, and who reacts to which event."""
