"""The queues, their retry policies, and the brokers that carry messages; knows no product and no table."""
