"""The pure core: accounts, subscriptions, sessions, outboxes. A delta goes in, frames come out."""
