"""What a queue is and how a message travels; knows no product."""
