"""What teams run today: Celery on RabbitMQ with boto3 and psycopg, in an environment of its own."""
