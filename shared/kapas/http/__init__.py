"""What reaches a function: clients, Pub/Sub, Cloud Tasks and Cloud Scheduler, and how a function answers them."""
