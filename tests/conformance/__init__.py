"""What we rely on of queues and tables, asked of every engine alike. Says nothing about the rest of AWS."""
